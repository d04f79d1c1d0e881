// Compiles src/bench/programs and records the facts that the benchmark checks: what each run prints natively, its
// instructions as a native stepper counts them where the run is short, and as this machine counts them where it is long.
// Needs Linux on x86-64 and gcc, and takes some minutes.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { setup } from "./setup.mjs";

const CFLAGS = [
  "-O2", "-mgeneral-regs-only", "-static", "-nostdlib", "-fno-stack-protector",
  "-Wl,-z,noseparate-code,--build-id=none",
]; // prettier-ignore
const here = dirname(fileURLToPath(import.meta.url));
const top = join(here, "..");
const folder = join(top, "src/bench/programs");
const out = mkdtempSync(join(tmpdir(), "quiesce-bench-"));
const run = (file, args) => execFileSync(file, args, { encoding: "utf8", maxBuffer: 1 << 20 });

await setup();
run(process.execPath, [join(here, "bench-wide.mjs")]);
const programs = await import("../dist/src/bench/programs.js");
const { runOwn } = await import("../dist/src/bench/sample.js");
const core = new WebAssembly.Module(readFileSync(join(top, "dist/core.wasm")));
const counter = join(out, "count");
run("gcc", ["-O2", "-o", counter, join(here, "bench-count.c")]);
for (const p of programs.PROGRAMS) {
  const elf = join(out, p);
  run("gcc", [...CFLAGS, "-o", elf, join(folder, `${p}.c`)]);
  run("strip", ["-g", elf]);
  const packed = gzipSync(readFileSync(elf), { level: 9 }).toString("base64");
  writeFileSync(join(folder, `${p}.gz.b64`), `${packed.match(/.{1,100}/g).join("\n")}\n`);
}
const facts = {};
for (const job of programs.RECORDED) {
  const elf = join(out, job.program);
  const args = programs.argumentsOf(job);
  const printed = run(elf, args);
  const ours = runOwn(core, readFileSync(elf), job, () => 0);
  const counted = programs.COUNTED.includes(job);
  const stepped = counted ? run(counter, [elf, ...args]).split("\n") : undefined;
  const insns = stepped === undefined ? ours.insns : Number(stepped.at(-2));
  if (ours.out !== printed || ours.insns !== insns) {
    process.stderr.write(
      `error: ${programs.keyOf(job)}: ${JSON.stringify(ours)}, expected ${JSON.stringify({ printed, insns })}\n`,
    );
    process.exit(1);
  }
  facts[programs.keyOf(job)] = { out: printed, insns, counted };
  process.stderr.write(
    `${programs.keyOf(job)}: ${insns} instructions${counted ? ", counted" : ""}\n`,
  );
}
writeFileSync(join(folder, "facts.json"), `${JSON.stringify(facts, null, 2)}\n`);
rmSync(out, { recursive: true });
