"""What the calls answer, as models for the OpenAPI document. Answers are built without them (broker.api.render), and
tests/api hold the two together."""

from broker.api.answers.base import ErrorAnswer, errors
from broker.api.answers.jobs import (
    CancelAnswer,
    CancelManyAnswer,
    JobAnswer,
    JobInputAnswer,
    JobListAnswer,
    JobWithAttemptsAnswer,
    SubmitAnswer,
    SubmitBatchAnswer,
)
from broker.api.answers.keys import (
    KeyAnswer,
    KeysAnswer,
    NewKeyAnswer,
    RevokedKeyAnswer,
    UsageAnswer,
    UsageExportAnswer,
    WhoAnswer,
)
from broker.api.answers.nodes import DrainAnswer, NodePageAnswer, NodesAnswer
from broker.api.answers.pool import HealthAnswer, OverviewAnswer, ReadyAnswer
from broker.api.answers.protocol import (
    BeatAnswer,
    ClaimAnswer,
    CompleteAnswer,
    CompleteBatchAnswer,
    MissingAnswer,
    ProgressAnswer,
    RegisterAnswer,
    ReleaseAnswer,
    StartAnswer,
    StatusOkAnswer,
)
from broker.api.answers.results import LogsAnswer, NotEndedAnswer, ResultAnswer, ResultsAnswer
from broker.api.answers.sandrun import EnvironmentsAnswer, OutputsAnswer, SandrunJobAnswer, StatsAnswer
from broker.api.answers.webhooks import RedeliverAnswer, WebhooksAnswer

__all__ = [
    "BeatAnswer",
    "CancelAnswer",
    "CancelManyAnswer",
    "ClaimAnswer",
    "CompleteAnswer",
    "CompleteBatchAnswer",
    "DrainAnswer",
    "EnvironmentsAnswer",
    "ErrorAnswer",
    "HealthAnswer",
    "JobAnswer",
    "JobInputAnswer",
    "JobListAnswer",
    "JobWithAttemptsAnswer",
    "KeyAnswer",
    "KeysAnswer",
    "LogsAnswer",
    "MissingAnswer",
    "NewKeyAnswer",
    "NodePageAnswer",
    "NodesAnswer",
    "NotEndedAnswer",
    "OutputsAnswer",
    "OverviewAnswer",
    "ProgressAnswer",
    "ReadyAnswer",
    "RedeliverAnswer",
    "RegisterAnswer",
    "ReleaseAnswer",
    "ResultAnswer",
    "ResultsAnswer",
    "RevokedKeyAnswer",
    "SandrunJobAnswer",
    "StartAnswer",
    "StatsAnswer",
    "StatusOkAnswer",
    "SubmitAnswer",
    "SubmitBatchAnswer",
    "UsageAnswer",
    "UsageExportAnswer",
    "WebhooksAnswer",
    "WhoAnswer",
    "errors",
]
