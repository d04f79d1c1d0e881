// The programs that are run both natively and by exec: C sources with a checked-in build of each, and what they were
// seen to do natively. `node scripts/exec-programs.mjs` makes both again; tests compare with them without gcc.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { readProgram, UserProcess, type ProcessResult } from "../../src/user/index.ts";

export const FOLDER = join(import.meta.dirname, "programs");
export const PROGRAMS = ["args", "compute", "memory", "signals", "handlers", "faults", "align", "steps", "syscalls", "ends"] as const; // prettier-ignore
export const CFLAGS = [
  "-O2", "-static", "-nostdlib", "-mgeneral-regs-only", "-fno-stack-protector", "-Wno-infinite-recursion",
  "-Wl,-z,noseparate-code,--build-id=none",
]; // prettier-ignore
export const STDIN = "abc\n";
export const ENV = ["Q_A=1", "OTHER=2", "Q_B=a b"];

export interface Case {
  readonly program: string;
  readonly args: readonly string[];
}

/** What a program did: its output and its exit code, 128 and the number for a signal. */
export interface Seen {
  readonly out: string;
  readonly exit: number;
}

export const CASES: readonly Case[] = [
  { program: "args", args: ["a", "b c", "", "--help"] },
  { program: "args", args: [] },
  { program: "compute", args: [] },
  { program: "memory", args: [] },
  { program: "signals", args: [] },
  { program: "signals", args: ["x"] },
  { program: "handlers", args: [] },
  { program: "handlers", args: ["x"] },
  { program: "faults", args: [] },
  { program: "align", args: [] },
  { program: "steps", args: [] },
  { program: "syscalls", args: [] },
  ..."0123456789abcdefg".split("").map((k) => ({ program: "ends", args: [k] })),
];

export const nameOf = (c: Case): string => [c.program, ...c.args].join(" ");

export const CORE = new WebAssembly.Module(
  readFileSync(join(import.meta.dirname, "../../dist/core.wasm")),
);

/** A checked-in build. */
export function stored(path: string): Uint8Array {
  return new Uint8Array(gunzipSync(Buffer.from(readFileSync(path, "utf8"), "base64")));
}

/** The checked-in build of a program of test/user/programs. */
export function storedProgram(name: string): Uint8Array {
  return stored(join(FOLDER, `${name}.gz.b64`));
}

export interface ExecOptions {
  readonly args?: readonly string[];
  readonly maxInsns?: number;
  readonly seed?: number;
  readonly ramBytes?: number;
  readonly trace?: (line: string) => void;
}

export interface Executed extends Seen {
  readonly result: ProcessResult;
  readonly process: UserProcess;
}

/** Runs an ELF file by exec. */
export function execute(bytes: Uint8Array, name: string, o: ExecOptions = {}): Executed {
  const out: Uint8Array[] = [];
  let input = new TextEncoder().encode(STDIN);
  const process = new UserProcess({
    core: CORE,
    ramBytes: o.ramBytes ?? 64 << 20,
    program: readProgram(bytes, name),
    argv: [`./${name}`, ...(o.args ?? [])],
    env: ENV,
    exe: `/tmp/${name}`,
    seed: o.seed ?? 1,
    io: {
      write: (_, b) => out.push(b) && b.length,
      read: (n) => {
        const part = input.subarray(0, n);
        input = input.subarray(n);
        return part;
      },
      ...(o.trace === undefined ? {} : { trace: o.trace }),
    },
  });
  const result = process.run(o.maxInsns ?? 50_000_000);
  const { end } = result;
  const exit = end.kind === "exit" ? end.status : end.kind === "signal" ? 128 + end.signal : -1;
  return { out: Buffer.concat(out).toString(), exit, result, process };
}

/** Compiles the programs into a folder of their own; undefined where that cannot be done or run. */
export function compileAll(): { readonly folder: string; close(): void } | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return undefined;
  const folder = mkdtempSync(join(tmpdir(), "quiesce-exec-"));
  const close = (): void => rmSync(folder, { recursive: true });
  for (const p of PROGRAMS) {
    const r = spawnSync("gcc", [...CFLAGS, "-o", join(folder, p), join(FOLDER, `${p}.c`)]);
    if (r.status !== 0) {
      close();
      return undefined;
    }
  }
  return { folder, close };
}

/** Runs a program natively. */
export function native(folder: string, c: Case): Seen {
  const env = Object.fromEntries(
    ENV.map((e): [string, string] => [e.slice(0, e.indexOf("=")), e.slice(e.indexOf("=") + 1)]),
  );
  // The shell's exit code knows every signal; Node's list of names does not.
  const script = 'ulimit -c 0; "$0" "$@"; exit $?';
  const r = spawnSync("sh", ["-c", script, `./${c.program}`, ...c.args], {
    cwd: folder,
    env,
    input: STDIN,
  });
  return { out: r.stdout.toString(), exit: r.status ?? -1 };
}
