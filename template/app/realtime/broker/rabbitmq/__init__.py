"""RabbitMQ as the broker."""
