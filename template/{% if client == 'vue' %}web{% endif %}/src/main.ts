import { createApp } from "vue";

import "./app.css";
import App from "./App.vue";
import { credentials } from "./auth/index.js";
import { mayGoOnAs } from "./components/auth/index.js";
import { withClient } from "./composables/realtime.js";
import type { Application } from "./events.js";
import { Client } from "./realtime/index.js";

const client = new Client<Application>(credentials, { mayGoOnAs });

createApp(App).use(withClient(client)).mount("#app");
