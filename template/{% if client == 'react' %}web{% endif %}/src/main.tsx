import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import "../style.css";
import "./root.css";
import { App } from "./App.js";
import { client } from "./client.js";

const root = document.querySelector("#root");
if (root === null) throw new Error("index.html has no element #root.");
createRoot(root).render(
  <StrictMode>
    <App client={client} />
  </StrictMode>,
);
