// Makes ../chat.js and ../math.js of the files here: npm ci && npm run build. The result is kept in the repository,
// so that installing needs no Node.js; its first line tells which sources it was made of.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

import { build } from "esbuild";

const sources = readdirSync(".")
  .filter((name) => /\.js$|^package-lock\.json$/.test(name))
  .sort();
const hash = createHash("sha256");
for (const name of sources) hash.update(readFileSync(name));

const digest = hash.digest("hex");

for (const name of ["chat", "math"]) {
  await build({
    entryPoints: [`${name}.js`],
    outfile: `../${name}.js`,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    loader: { ".css": "text" },
    banner: { js: `// made of frontend/ ${digest}; licences: chat.js.licenses.txt` },
  });
}

const bundled = ["marked", "dompurify", "highlight.js", "temml"].map((name) => {
  const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`));
  const text = readFileSync(`node_modules/${name}/LICENSE`);
  return `${name} ${version}\n\n${String(text).trim()}\n`;
});
writeFileSync("../chat.js.licenses.txt", bundled.join(`\n${"-".repeat(80)}\n\n`));
