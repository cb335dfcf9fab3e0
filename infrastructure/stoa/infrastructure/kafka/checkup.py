"""Kafka checks for `stoa doctor`: a broker answers, accepts the login and has the topic."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

from stoa.application.run_checks import CheckResult, Verdict
from stoa.infrastructure.http_client.problems import connection_problem
from stoa.infrastructure.kafka.errors import FAILURES, outage
from stoa.infrastructure.kafka.login import KafkaLogin

_TIMEOUT_SECONDS = 10.0
_CONNECT_SECONDS = 3.0


async def check_kafka(servers: str, topic: str, login: KafkaLogin) -> Sequence[CheckResult]:
    logger = logging.getLogger("aiokafka")
    if logger.level == logging.NOTSET:  # it logs an error for each attempt; the result has the final one
        logger.setLevel(logging.CRITICAL)
    closed = await _closed(servers, login)
    if closed:
        return [CheckResult(Verdict.FAIL, "reachable", closed, "start a broker, or mend KAFKA_BOOTSTRAP_SERVERS")]
    try:
        admin = AIOKafkaAdminClient(**login.options(servers, "stoa-doctor"))
        try:
            await asyncio.wait_for(admin.start(), _TIMEOUT_SECONDS)
            # Asked for with all the others: asking for one topic makes it where the broker makes topics by itself.
            topics = await asyncio.wait_for(admin.describe_topics(), _TIMEOUT_SECONDS)
        finally:
            await admin.close()
    except (*FAILURES, TimeoutError) as failure:
        remedy = "check KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_MECHANISM, KAFKA_USERNAME and KAFKA_PASSWORD"
        return [CheckResult(Verdict.FAIL, "login", outage(failure), remedy)]
    partitions = [
        partition
        for topic_metadata in topics
        if topic_metadata["topic"] == topic
        for partition in topic_metadata["partitions"]
    ]
    answered = CheckResult(Verdict.OK, "reachable", f"{servers} answers")
    if not partitions:
        reason = f"there is no topic {topic}, or this user may not see it"
        return [answered, CheckResult(Verdict.FAIL, "topic", reason, "create it, or mend METERING_TOPIC")]
    leaderless = sum(partition["leader"] < 0 for partition in partitions)
    if leaderless:
        reason = f"{leaderless} of {len(partitions)} partitions of {topic} have no leader"
        return [answered, CheckResult(Verdict.FAIL, "topic", reason, "look at the brokers")]
    return [answered, CheckResult(Verdict.OK, "topic", f"{topic}, {len(partitions)} partitions")]


async def _closed(servers: str, login: KafkaLogin) -> str:
    """The reason why no broker accepts a connection; empty if one does. Needed because aiokafka does not say which part
    failed."""
    problems: list[str] = []
    for server in filter(None, map(str.strip, servers.split(","))):
        host, _, port = server.rpartition(":")
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                context = login.options(server, "stoa-doctor").get("ssl_context")
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
        except (OSError, ValueError) as failure:
            problems.append(f"{server}: {connection_problem(failure)}")
            continue
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return ""
    return "; ".join(problems)
