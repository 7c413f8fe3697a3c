"""Whether traces are wanted, the ids in them, and who samples what."""

import pytest

from broker.domain.traces import parent_of, span_id_of, spread, trace_id_of
from broker.errors import StartError
from broker.service.job_ids import new_job_id
from broker.trace_settings import wanted

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:canary@collector:4318"}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/v1/traces"}, True),
        ({"OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}, True),
    ],
)
def test_an_endpoint_turns_traces_on(more: dict[str, str], expected: bool) -> None:
    assert wanted(ENDPOINT | more) is expected
    assert not wanted({})


@pytest.mark.parametrize(
    "more",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:canary"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://canary:99999"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "many"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "0"},
        {"OTEL_TRACES_SAMPLER": "sometimes"},
        {"OTEL_TRACES_SAMPLER": "traceidratio"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "10%"},
    ],
)
def test_what_cannot_be_used_is_named_and_an_endpoint_is_not_repeated(more: dict[str, str]) -> None:
    with pytest.raises(StartError, match=list(more)[-1]) as refused:
        wanted(ENDPOINT | more)
    assert "canary" not in refused.value.message


def test_a_trace_is_found_by_the_jobs_id() -> None:
    job_id = new_job_id()
    assert f"{trace_id_of(job_id):032x}" == job_id.replace("-", "")
    odd = {trace_id_of(name) for name in ("", "job_1", "\udcff", job_id.upper(), "0" * 32)}
    assert len(odd) == 5
    assert all(0 < trace_id < 1 << 128 for trace_id in odd)


def test_spans_of_a_job_have_ids_of_their_own() -> None:
    names = {(job, part, fence) for job in ("a", "b", "a1") for part in ("job", "run") for fence in (1, 2, 11)}
    assert len({span_id_of(*name) for name in names}) == len(names)
    assert all(0 < span_id_of(*name) < 1 << 64 for name in names)


def test_any_share_of_the_jobs_can_be_sampled() -> None:
    numbers = [spread(trace_id_of(new_job_id())) for _ in range(4000)]
    for share in (0.1, 0.5, 0.9):
        sampled = sum(number < share * (1 << 64) for number in numbers)
        assert abs(sampled / 4000 - share) < 0.06, "six standard deviations and more"


def test_only_a_whole_traceparent_names_a_parent() -> None:
    good = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert parent_of(good) == (0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7)
    assert parent_of(b"01" + good[2:] + b"-more") == parent_of(good), "a later version may say more"
    wrong = [good + b"-more", b"ff" + good[2:], good.upper(), good[:-1], good.replace(b"00f067aa0ba902b7", b"0" * 16)]
    assert [parent_of(each) for each in wrong] == [None] * len(wrong)
