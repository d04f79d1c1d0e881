// `npm run bench:core [-- OPTIONS]`: sets a fresh clone up and runs `quiesce bench core`. The other emulator is not ours to
// install: where there is no qemu-x86_64, its column is left out and the table says so.
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setup } from "./setup.mjs";

await setup();
const command = join(dirname(fileURLToPath(import.meta.url)), "../bin/quiesce.mjs");
const words = [command, "bench", "core", ...process.argv.slice(2)];
process.exit(spawnSync(process.execPath, words, { stdio: "inherit" }).status ?? 1);
