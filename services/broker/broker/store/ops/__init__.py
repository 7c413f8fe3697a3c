"""The store's operations: functions of a transaction, run by the writer. Each is all or nothing."""
