import { credentials } from "./auth/index.js";
import { storedRooms } from "./chat/rooms.js";
import { clientOptions } from "./components/auth/index.js";
import type { Application } from "./events.js";
import { Client } from "./realtime/index.js";

/** The client of this page. */
export const client = new Client<Application>(credentials, clientOptions);

// After a reload, the page enters the same rooms.
for (const name of storedRooms(sessionStorage)) client.enter(name);
