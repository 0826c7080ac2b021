import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import "../style.css";

const root = document.querySelector("#app");
if (root === null) throw new Error("index.html has no #app");
createRoot(root).render(
  <StrictMode>
    <h1>Hi</h1>
  </StrictMode>,
);
