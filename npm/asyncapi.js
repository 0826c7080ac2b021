// Prints what the reference parser finds wrong in AsyncAPI documents: node asyncapi.js FILE…
// The exit code is 1 if that is anything but a hint that AsyncAPI has a later version.

import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const ALLOWED = new Set(["asyncapi-latest-version"]);

for (const file of process.argv.slice(2)) {
  const { diagnostics } = await new Parser().parse(readFileSync(file, "utf8"));
  for (const { code, message, path } of diagnostics) {
    if (!ALLOWED.has(String(code))) {
      console.log(`${file}: ${path.join(".")}: ${message}`);
      process.exitCode = 1;
    }
  }
}
