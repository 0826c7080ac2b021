"""Messages between any number of processes, through one stream of RabbitMQ.

Every worker appends to the stream and reads all of it; `app.realtime.broker.log` does the
rest, and its docstring says what that means.

Guarantees: what was answered is in the stream, on a majority of the servers that hold it, and
survives that RabbitMQ is killed. RabbitMQ leaves it to the operating system when to write to
the disk. So a power failure of all these servers at once may lose the last messages, and then
another epoch begins. Order, one delivery for each id, and history are those of the log.

What costs: each worker holds two connections, appends one entry a second, and receives
everything that all workers publish. What a worker publishes at about the same time is one
message to RabbitMQ, so its cost falls as traffic grows. Rooms cost RabbitMQ nothing.

The stream forgets whole files, by age and by size. `max_length_bytes` has to hold what is
published in `HISTORY_SECONDS`: with less, workers that start later know less than others.

RabbitMQ 3.9 or later is needed, without plugins. The user needs the permissions to configure
and read the stream, and to write to `amq.default`. `BROKER_URL` is explained in `options`.
"""

from app.realtime.broker.log.backend import LogBackend
from app.realtime.broker.rabbitmq.log import StreamLog
from app.realtime.broker.rabbitmq.options import PORTS, read_options


class RabbitmqBackend(LogBackend):
    schemes = tuple(PORTS)

    def __init__(
        self, url: str, history_size: int, history_seconds: float, history_bytes: int = 0
    ) -> None:
        log = StreamLog(read_options(url, history_seconds))
        super().__init__(url, history_size, history_seconds, history_bytes, log)
