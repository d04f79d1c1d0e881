// Records test/vectors/ anew from this machine's CPU: node scripts/vectors.mjs. Needs Linux on x86-64, gcc and a built
// dist/. The tests replay the file anywhere.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const load = async (name) =>
  (await runnerImport(join(top, "test/machine/native", name), { root: top, configFile: false }))
    .module;

const { openNative } = await load("native.ts");
const { recordVectors } = await load("record.ts");
const { packVectors } = await load("vectors.ts");

const native = openNative();
if (!native.ok) {
  process.stderr.write(`error: vectors: ${native.reason}\n`);
  process.exit(2);
}
const info = readFileSync("/proc/cpuinfo", "utf8");
const field = (name) => new RegExp(`^${name}\\s*: (.*)$`, "m").exec(info)?.[1] ?? "?";
const cpu = `${field("vendor_id")} family ${field("cpu family")} model ${field("model")}`;
const vectors = recordVectors(native.cpu, 7000, 20150220);
native.cpu.close();
const packed = packVectors(cpu, vectors);
writeFileSync(join(top, "test/vectors/x86-64.bin.gz"), packed);
process.stdout.write(`${vectors.length} vectors of ${cpu}, ${packed.length} bytes\n`);
