import { bootstrapApplication } from "@angular/platform-browser";
import { App, config } from "./app/auth/index.js";

bootstrapApplication(App, config).catch((error: unknown) => console.error(error));
