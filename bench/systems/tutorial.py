"""FastAPI's tutorial: a ConnectionManager with a list of sockets.

https://fastapi.tiangolo.com/advanced/websockets/#handling-disconnections-and-multiple-clients
The tutorial has one room; here every room has such a manager. Its second message, to the
sender alone, is left out.
"""

from collections import defaultdict

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from serve import serve

app = FastAPI()


class ConnectionManager:
    def __init__(self) -> None:
        self.active_connections: list[WebSocket] = []

    async def connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self.active_connections.append(websocket)

    def disconnect(self, websocket: WebSocket) -> None:
        self.active_connections.remove(websocket)

    async def broadcast(self, message: str) -> None:
        for connection in self.active_connections:
            await connection.send_text(message)


managers: defaultdict[str, ConnectionManager] = defaultdict(ConnectionManager)


@app.websocket("/ws/{room}")
async def websocket_endpoint(websocket: WebSocket, room: str) -> None:
    manager = managers[room]
    await manager.connect(websocket)
    try:
        while True:
            data = await websocket.receive_text()
            await manager.broadcast(data)
    except WebSocketDisconnect:
        manager.disconnect(websocket)


if __name__ == "__main__":
    serve(app)
