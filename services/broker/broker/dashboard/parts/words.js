// What the API's words mean, in a few words for people.
export const STATUS = {
  pending: { label: "Pending", icon: "waiting" },
  assigned: { label: "Assigned", icon: "assigned" },
  running: { label: "Running", icon: "running" },
  completed: { label: "Completed", icon: "completed" },
  failed: { label: "Failed", icon: "failed" },
};

export const FAILURE = {
  exit: "own exit code",
  signal: "killed by a signal",
  timeout: "time limit",
  cpu: "CPU limit",
  memory: "memory limit",
  output: "output limit",
  disk: "disk limit",
  processes: "process limit",
  cancelled: "cancelled",
  node_lost: "nodes lost",
  platform: "executor failed",
  rejected: "no node could run it",
  expired: "deadline passed",
  verification: "not verified",
};

export const OUTCOME = {
  completed: "completed",
  failed: "failed",
  platform: "executor failed",
  node_lost: "node lost",
  overdue: "overdue, taken back",
  released: "handed back unrun",
  cancelled: "cancelled",
};

export const INTERPRETERS = {
  python3: "Python",
  node: "JavaScript",
  bash: "Bash",
  sh: "Shell",
  ruby: "Ruby",
  perl: "Perl",
};

export const LIMIT = {
  submissions_per_minute: "Jobs a minute",
  jobs_pending: "Pending jobs",
  jobs_unfinished: "Unfinished jobs",
  cpu_seconds_per_day: "CPU seconds a day",
  stored_bytes: "Stored bytes",
};
