"""How uvicorn is run: the process, its requests, frames, headers and logs."""
