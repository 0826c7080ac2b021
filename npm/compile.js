// Write the JavaScript of the html client from the TypeScript of the other clients: the types
// are removed, and everything else stays as it is written, comments included.
//
//     node npm/compile.js [FOLDER]
//
// FOLDER is where to write it: without one, the html client's own.

import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import prettier from "prettier";
import { blankSourceFile } from "ts-blank-space";
import ts from "typescript";

const ROOT = join(import.meta.dirname, "..");
const SOURCE = join(ROOT, "template/web/src");
const HTML = join(ROOT, "template/{% if client == 'html' %}web{% endif %}");
const FOLDERS = ["realtime", "auth", "chat"];
const STYLE = { printWidth: 100, parser: "babel" };

/** TypeScript as JavaScript. It is "" if there are only types. */
async function compile(source, name) {
  const text = withoutTypes(source, name);
  const file = ts.createSourceFile(name, text, ts.ScriptTarget.ES2022, true);
  const problem = (node) => {
    throw new Error(`${name}: this is more than a type: ${node.getText(file)}`);
  };
  return prettier.format(blankSourceFile(file, problem), STYLE);
}

/** The source without the declarations that are only types, and without their comments. */
function withoutTypes(source, name) {
  const file = ts.createSourceFile(name, source, ts.ScriptTarget.ES2022, true);
  let text = source;
  for (const node of [...file.statements].reverse()) {
    if (!isOnlyType(node)) continue;
    // The comment above an import is that of the file.
    const start = ts.isImportDeclaration(node) ? node.getStart(file) : node.getFullStart();
    text = text.slice(0, start) + text.slice(node.end).replace(/^\n/, "");
  }
  return text;
}

function isOnlyType(node) {
  return (
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) ||
    (ts.isImportDeclaration(node) && node.importClause?.isTypeOnly === true) ||
    (ts.isExportDeclaration(node) && node.isTypeOnly)
  );
}

function isForTests(name) {
  return name.endsWith(".test.ts") || name.endsWith("testing.ts");
}

async function writeFolder(folder, target) {
  await rm(join(target, folder), { recursive: true, force: true });
  const names = await readdir(join(SOURCE, folder), { recursive: true }).catch(() => []);
  for (const name of names) {
    const [source, written] = [join(SOURCE, folder, name), join(target, folder, name)];
    if (isForTests(name)) continue;
    if (name.endsWith(".ts")) {
      const code = await compile(await readFile(source, "utf8"), source);
      if (code !== "") await write(written.replace(/ts$/, "js"), code);
    } else if (name.endsWith(".ts.jinja")) {
      await mkdir(dirname(written), { recursive: true });
      await cp(source, written.replace(/ts\.jinja$/, "js.jinja"));
    }
  }
}

async function write(path, text) {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

const target = process.argv[2] ?? HTML;
for (const folder of FOLDERS) await writeFolder(folder, target);
