// `npm run csmith [-- COUNT [FIRST]]`: random C programs (csmith, by apt), compiled by gcc at rotating levels, run natively
// and by exec: output, with its checksums, and exit code must be the same. Seeds are fixed, FIRST and upwards (1); a
// program that does not end natively within a second is replaced by one more. Ctrl-C ends with what was found. Exit 0: no difference; 1: some.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

const LEVELS = [
  ["-O0"],
  ["-O1"],
  ["-O2"],
  ["-O3"],
  ["-Os"],
  ["-O2", "-march=x86-64-v2"],
  ["-O3", "-march=x86-64-v2"],
];
const INCLUDE = ["/usr/include/csmith", "/usr/local/include/csmith"].find((d) => existsSync(d));
const NATIVE_MS = 1000;
const MOST_INSNS = 3_000_000_000;
/** The argument makes the program print the checksum behind each of its variables. */
const ARGS = ["1"];

/** What csmith and gcc are asked for; both follow from the seed alone. */
function recipe(seed) {
  const level = LEVELS[seed % LEVELS.length];
  const csmith = ["--seed", String(seed), ...(seed % 3 === 0 ? ["--float"] : [])];
  return { csmith, gcc: [...level, "-w", "-static", `-I${INCLUDE}`] };
}

async function work() {
  const { readProgram, UserProcess } = await import("../dist/src/user/index.js");
  const core = new WebAssembly.Module(readFileSync(new URL("../dist/core.wasm", import.meta.url)));
  const { folder } = workerData;

  /** By exec: output and exit code, or why there is none. */
  const emulated = (file) => {
    const out = [];
    const process = new UserProcess({
      core,
      ramBytes: 64 << 20,
      program: readProgram(readFileSync(file), "p"),
      argv: [file, ...ARGS],
      env: [],
      exe: file,
      seed: 1,
      io: { write: (_, b) => out.push(Buffer.from(b)) && b.length, read: () => new Uint8Array() },
    });
    const { end, insns } = process.run(MOST_INSNS);
    const text = Buffer.concat(out).toString("latin1");
    if (end.kind === "budget") return { insns, seen: `no end after ${insns} instructions` };
    const exit = end.kind === "exit" ? end.status : 128 + end.signal;
    return { insns, seen: `${text}exit ${exit}\n`, report: end.report };
  };

  const one = (seed) => {
    const { csmith, gcc } = recipe(seed);
    const source = join(folder, `${seed}.c`);
    const file = join(folder, `${seed}`);
    try {
      const made = spawnSync("csmith", [...csmith, "-o", source], {
        cwd: folder, // where it leaves a note on the platform
        timeout: 60_000,
      });
      if (made.status !== 0) return { kind: "unmade" };
      const built = spawnSync("gcc", [...gcc, "-o", file, source], { timeout: 120_000 });
      if (built.status !== 0) return { kind: "unmade" };
      const limits = { timeout: NATIVE_MS, killSignal: "SIGKILL", maxBuffer: 1 << 28 };
      const r = spawnSync(file, ARGS, { ...limits, env: {} });
      if (r.error !== undefined || r.status === null) return { kind: "endless" };
      const native = `${r.stdout.toString("latin1")}exit ${r.status}\n`;
      const { insns, seen, report } = emulated(file);
      if (seen === native) return { kind: "same", insns };
      const lines = native.split("\n");
      const at = seen.split("\n").findIndex((l, i) => l !== lines[i]);
      const how = `line ${at + 1}: natively "${lines[at]}", by exec "${seen.split("\n")[at]}"`;
      return { kind: "differs", insns, how: report === undefined ? how : `${how}\n${report}` };
    } finally {
      for (const f of [source, file]) rmSync(f, { force: true });
    }
  };

  parentPort.on("message", (seed) => {
    let result;
    try {
      result = one(seed);
    } catch (e) {
      result = { kind: "differs", insns: 0, how: String(e.stack ?? e) };
    }
    parentPort.postMessage({ seed, ...result });
  });
}

async function main() {
  const { setup } = await import("./setup.mjs");
  await setup();
  const missing = ["csmith", "gcc"].find(
    (c) => spawnSync(c, ["--version"], { cwd: tmpdir() }).status !== 0,
  );
  if (missing !== undefined || INCLUDE === undefined) {
    const what = missing ?? "csmith's headers";
    process.stderr.write(
      `error: csmith: ${what} is missing, expected Debian's csmith, libcsmith-dev, gcc and libc6-dev\n`,
    );
    process.exit(4);
  }
  const [count, first] = [Number(process.argv[2] ?? 1000), Number(process.argv[3] ?? 1)];
  const folder = mkdtempSync(join(tmpdir(), "quiesce-csmith-"));
  const start = performance.now();
  const nr = { same: 0, differs: 0, endless: 0, unmade: 0 };
  let insns = 0;
  let next = first;
  let compared = 0;
  let running = 0;
  let stop = false;
  process.once("SIGINT", () => {
    stop = true;
  });
  const progress = (text) => process.stderr.isTTY && process.stderr.write(`\r${text}`);
  await new Promise((done) => {
    const workers = Array.from(
      { length: Math.max(1, Math.min(8, availableParallelism())) },
      () => new Worker(fileURLToPath(import.meta.url), { workerData: { folder } }),
    );
    const give = (worker) => {
      if (!stop && compared + running < count) {
        running++;
        worker.postMessage(next++);
      } else void worker.terminate();
      if (running === 0) done();
    };
    for (const worker of workers) {
      worker.on("message", (r) => {
        running--;
        nr[r.kind]++;
        insns += r.insns ?? 0;
        if (r.kind === "same" || r.kind === "differs") compared++;
        if (r.kind === "differs") {
          const { csmith, gcc } = recipe(r.seed);
          process.stdout.write(
            `seed ${r.seed} (csmith ${csmith.join(" ")}; gcc ${gcc.join(" ")}): ${r.how}\n`,
          );
        }
        progress(`${compared}/${count} programs, ${nr.differs} different `);
        give(worker);
      });
      worker.on("error", (e) => {
        process.stderr.write(`error: csmith: ${e.stack}\n`);
        process.exit(2);
      });
      give(worker);
    }
  });
  progress("\n");
  rmSync(folder, { recursive: true });
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  process.stdout.write(
    `csmith seeds ${first}..${next - 1}: ${compared} programs compared, ${nr.differs} different, ${insns} instructions; ` +
      `${nr.endless} without an end, ${nr.unmade} not compiled; ${seconds} s\n`,
  );
  process.exit(nr.differs > 0 ? 1 : 0);
}

await (isMainThread ? main() : work());
