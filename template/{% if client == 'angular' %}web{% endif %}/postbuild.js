// The application serves dist/index.html at "/", and dist/static at "/static".
import { renameSync } from "node:fs";

renameSync("dist/static/index.html", "dist/index.html");
