"""What an orchestrator and a monitor ask."""

from fastapi import APIRouter, Response, status
from prometheus_client import CONTENT_TYPE_LATEST

from app.manager import Manager
from app.metrics import BROKER_UP, render

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process serves requests. Restart it when it does not."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "The broker is out of reach"}})
async def readyz(manager: Manager, response: Response) -> dict[str, str]:
    """Messages travel through the broker. Send no new clients while they don't."""
    if manager.broker_is_alive:
        return {"status": "ready"}
    response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    return {"status": "broker out of reach"}


@router.get("/metrics")
async def metrics(manager: Manager) -> Response:
    """What Prometheus scrapes: one answer covers every worker."""
    BROKER_UP.set(manager.broker_is_alive)
    return Response(render(), media_type=CONTENT_TYPE_LATEST)
