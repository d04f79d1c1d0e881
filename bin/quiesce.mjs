#!/usr/bin/env node
// The command. In a checkout it installs and builds what is missing first; the packed package has neither src/ nor
// scripts/ and runs what it was packed with.
import { existsSync } from "node:fs";

const here = (path) => new URL(`../${path}`, import.meta.url);

if (existsSync(here("scripts/setup.mjs")) && existsSync(here("src/"))) {
  const { setup } = await import(here("scripts/setup.mjs").href);
  await setup();
}
if (!existsSync(here("dist/src/cli/main.js"))) {
  process.stderr.write(
    "error: quiesce: dist/ is missing, expected the packed package or a checkout\n",
  );
  process.exit(2);
}
const { main } = await import(here("dist/src/cli/main.js").href);
await main(process.argv.slice(2));
