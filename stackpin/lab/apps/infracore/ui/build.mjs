// Build the UI: dist/index.html, and assets whose names carry a hash of their content.
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { extname, basename, join } from "node:path";

const source = new URL("src/", import.meta.url).pathname;
const dist = new URL("dist/", import.meta.url).pathname;

await rm(dist, { recursive: true, force: true });
await mkdir(join(dist, "assets"), { recursive: true });

let index = await readFile(join(source, "index.html"), "utf8");
const names = (await readdir(source)).filter((name) => name !== "index.html").sort();
for (const name of names) {
  const content = await readFile(join(source, name));
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 8);
  const asset = `assets/${basename(name, extname(name))}-${hash}${extname(name)}`;
  if (!index.includes(`"./${name}"`)) throw new Error(`index.html does not use ${name}`);
  await writeFile(join(dist, asset), content);
  index = index.replaceAll(`"./${name}"`, `"/${asset}"`);
}
await writeFile(join(dist, "index.html"), index);
console.log(`built ${names.length + 1} files`);
