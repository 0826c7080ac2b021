"""The topic: whether it can be used as it is, and how it is created."""

import logging
from math import ceil

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from app.realtime.broker.kafka.errors import explain
from app.realtime.broker.kafka.options import Options
from app.realtime.broker.log.base import LogUnavailable

logger = logging.getLogger(__name__)

MINIMUM_RETENTION = 3600
"""Seconds for which a topic that is created here keeps its entries, or twice the history."""

REPLICATION = 3
"""Servers that have a copy of a topic that is created here, if there are so many."""

TIMEOUT_MS = 3000


async def prepare_topic(options: Options, history_seconds: float) -> None:
    """Create the topic if it does not exist, else check its settings.

    Raises LogUnavailable for settings that break the promises, and KafkaError.
    """
    admin = AIOKafkaAdminClient(**options.connection, request_timeout_ms=TIMEOUT_MS)
    try:
        await admin.start()
        if options.topic in await admin.list_topics():
            check(options.topic, await read_settings(admin, options.topic), history_seconds)
        else:
            await create(admin, options, history_seconds)
    finally:
        await admin.close()


async def create(admin: AIOKafkaAdminClient, options: Options, history_seconds: float) -> None:
    """Create the topic, unless another worker has just done so.

    If that fails, the server may still create it when it is used for the first time.
    """
    retention = max(MINIMUM_RETENTION, 2 * ceil(history_seconds))
    servers = len((await admin.describe_cluster())["brokers"])
    topic = NewTopic(
        options.topic,
        options.partitions,
        options.replication or max(1, min(REPLICATION, servers)),
        topic_configs={
            "cleanup.policy": "delete",
            "retention.ms": str(retention * 1000),
            "message.timestamp.type": "LogAppendTime",
        },
    )
    try:
        answer = await admin.create_topics([topic])
        for error in (for_code(code) for _, code, *_ in answer.topic_errors if code):
            if error is not TopicAlreadyExistsError:
                raise error(options.topic)
    except (KafkaError, AttributeError) as error:  # aiokafka's, if no server is the controller
        logger.warning("could not create the topic %s: %s", options.topic, explain(error))
    else:
        logger.info("created the topic %s", options.topic)


async def read_settings(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    """The settings of the topic. Empty if the server does not tell them."""
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    except KafkaError as error:
        logger.info("could not read the settings of the topic %s: %s", topic, explain(error))
        return {}
    resources = [resource for answer in answers for resource in answer.resources]
    return {name: value for *_, settings in resources for name, value, *_ in settings}


def check(topic: str, settings: dict[str, str], history_seconds: float) -> None:
    """Raises LogUnavailable for a topic that can't keep the promises."""
    policy = settings.get("cleanup.policy", "delete")
    if policy != "delete":
        raise LogUnavailable(
            f"the topic {topic} has cleanup.policy={policy}, which deletes parts of the history. "
            "It has to be delete"
        )
    retention = int(settings.get("retention.ms", -1))
    if 0 <= retention < history_seconds * 1000:
        raise LogUnavailable(
            f"the topic {topic} keeps its entries for retention.ms={retention}, which is less "
            f"than HISTORY_SECONDS ({history_seconds:g}). Raise retention.ms or lower "
            "HISTORY_SECONDS"
        )
