"""What an orchestrator asks."""

from fastapi import APIRouter, Response, status

from app.manager import Manager

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
