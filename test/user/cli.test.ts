// `quiesce exec` as a user meets it: whose words are whose, exit codes, and what is on standard error.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { run } from "../../src/cli/main.ts";
import { storedProgram } from "./cases.ts";
import { assembleElf } from "./elf-writer.ts";

const FOLDER = mkdtempSync(join(tmpdir(), "quiesce-"));
afterAll(() => rmSync(FOLDER, { recursive: true }));

function program(name: string): string {
  const path = join(FOLDER, name);
  writeFileSync(path, storedProgram(name));
  return path;
}

async function quiesce(...words: readonly string[]) {
  let out = "";
  let err = "";
  const stdout = { write: (text: string) => (out += text) };
  const stderr = { write: (text: string) => (err += text) };
  const code = await run(words, { stdout, stderr });
  return { code, out, err };
}

describe("quiesce exec", () => {
  it("has the program's output and exit code, and one line of statistics", async () => {
    const r = await quiesce("exec", "--stats", program("compute"));
    expect(r.code).toBe(7);
    expect(r.out).toMatch(/^fib 6765\nprimes 2262\n/);
    const stats: unknown = JSON.parse(r.err);
    expect(Object.keys(Object(stats))).toEqual(["insns", "seconds", "mips", "exit"]);
    expect(stats).toMatchObject({ exit: 7, insns: 1_279_722 });
  });

  it("leaves the words behind the program to it", async () => {
    const r = await quiesce("exec", program("ends"), "g", "--help", "-o", "/nowhere/x", "--stats");
    expect(r).toEqual({ code: 42, out: "end g\n", err: "" });
  });

  it("ends with 3 when the budget does, and says where", async () => {
    const r = await quiesce("exec", "--max-insns", "1000", program("compute"));
    expect(r.code).toBe(3);
    expect(r.err).toMatch(/the budget of 1000 instructions ended at fib\S*\+0x/);
  });

  it("ends with 128 and the signal, and reports it", async () => {
    const r = await quiesce("exec", program("ends"), "3");
    expect(r.code).toBe(136);
    expect(r.err).toMatch(/killed by SIGFPE\nrip [^]*call stack:\n {2}leaf\+/);
  });

  it("writes a trace", async () => {
    const file = join(FOLDER, "trace");
    await quiesce("exec", "--trace", file, program("ends"), "4");
    expect(readFileSync(file, "utf8")).toMatch(
      /^write\(1, "end 4\\n", 6\) += 6\n[^]*tgkill\(1000, 1000, SIGABRT\) += 0\n--- SIGABRT \{si_signo=SIGABRT, si_code=SI_TKILL, si_pid=1000, si_uid=1000\} ---\n\+\+\+ killed by SIGABRT \+\+\+\n$/,
    );
  });

  it.each([
    [["exec"], "error: exec: PROG is missing, expected it\n"],
    [
      ["exec", "--stast", "x"],
      "error: exec: option: there is no '--stast', did you mean '--stats'?\n",
    ],
    [["exec", "/nowhere"], "error: /nowhere: no such file, expected a program that can be read\n"],
    [["exec", ""], "error: exec: PROG is empty, expected a program's path\n"],
    [["exec", "/"], "error: /: is a folder, expected a program that can be read\n"],
    [
      ["exec", "/dev/zero"],
      "error: /dev/zero: is no regular file, expected a program that can be read\n",
    ],
    [["exec", "--memory", "1", "x"], "error: memory: '1' is not a whole number from 16 to 2000\n"],
  ])("answers %j with one line and exit 2", async (words, line) => {
    expect(await quiesce(...words)).toEqual({ code: 2, out: "", err: line });
  });

  it("refuses a file that is no program", async () => {
    const path = join(FOLDER, "text");
    writeFileSync(path, "hello\n");
    const r = await quiesce("exec", path);
    expect(r).toEqual({
      code: 2,
      out: "",
      err: `error: ${path}: no ELF magic at offset 0x0, expected 7f 45 4c 46\n`,
    });
  });

  it("says when a trace does not fit", async () => {
    const r = await quiesce("exec", "--trace", "/dev/full", program("ends"), "4");
    expect(r.code).toBe(2);
    expect(r.err).toContain("error: /dev/full: the disk is full, expected room for the trace\n");
  });
});

/** Runs the command as a shell does; what follows `exec` is shell text. */
function shell(script: string): { readonly out: string; readonly err: string } {
  const bin = join(import.meta.dirname, "../../dist/src/cli/main.js");
  const code = `const { main } = await import(${JSON.stringify(bin)}); await main(process.argv.slice(1));`;
  const env = { ...process.env, NODE: process.execPath, CODE: code };
  const run = 'q() { "$NODE" --input-type=module -e "$CODE" -- exec "$@"; }; ';
  const r = spawnSync("sh", ["-c", run + script], { encoding: "utf8", env, timeout: 100_000 });
  return { out: r.stdout, err: r.stderr };
}

describe.skipIf(process.platform === "win32")("quiesce exec among processes", () => {
  const FOREVER = `
    .text
    .globl _start
    _start: mov $1, %eax
        mov $1, %edi
        lea text(%rip), %rsi
        mov $2, %edx
        syscall
        test %rax, %rax
        jns _start
        neg %eax
        mov %eax, %edi
        mov $60, %eax
        syscall
    .data
    text: .ascii "y\\n"
  `;

  // Ends with the number of its first read's error, or minus the number of bytes.
  const READS = `
    .text
    _start: lea -64(%rsp), %rsi
        xor %edi, %edi
        mov $64, %edx
        xor %eax, %eax
        syscall
        neg %eax
        mov %eax, %edi
        mov $60, %eax
        syscall
  `;

  it("has the program killed by SIGPIPE when its reader is gone", async () => {
    const path = join(FOLDER, "forever");
    writeFileSync(path, await assembleElf(FOREVER));
    expect(shell(`( q '${path}'; echo $? >&2 ) | head -n 1`)).toEqual({ out: "y\n", err: "141\n" });
  });

  it.skipIf(process.platform !== "linux")(
    "gives the program the errors of its output",
    async () => {
      const path = join(FOLDER, "forever");
      writeFileSync(path, await assembleElf(FOREVER));
      expect(shell(`q '${path}' > /dev/full; echo $?`)).toEqual({ out: "28\n", err: "" });
    },
  );

  it.skipIf(process.platform !== "linux")("gives the program the errors of its input", async () => {
    const path = join(FOLDER, "reads");
    writeFileSync(path, await assembleElf(READS));
    expect(shell(`q '${path}' < /; echo $?`)).toEqual({ out: "21\n", err: "" });
    expect(shell(`q '${path}' < /dev/null; echo $?`)).toEqual({ out: "0\n", err: "" });
    expect(shell(`echo abc | q '${path}'; echo $?`)).toEqual({ out: "252\n", err: "" });
  });

  it.skipIf(process.platform !== "linux")(
    "passes on words and variables that are no UTF-8 as they are",
    () => {
      const script = `x=$(printf 'a\\377') y=$(printf 'a\\376'); Q_Z=$y; export Q_Z; q '${program("args")}' "$x" é "$y" < /dev/null | od -An -tx1 -v | tr -d ' \\n'`;
      const hex = (b: readonly number[]): string => Buffer.from(b).toString("hex");
      const text = hex([0x5b, 0x61, 0xff, 0x5d, 10, 0x5b, 0xc3, 0xa9, 0x5d, 10, 0x5b, 0x61, 0xfe, 0x5d, 10]); // prettier-ignore
      const { out } = shell(script);
      expect(out).toContain(text);
      expect(out).toContain(`${Buffer.from("Q_Z=a").toString("hex")}fe0a`);
    },
  );

  it("ends by Ctrl-C, and leaves the trace up to there", async () => {
    const path = join(FOLDER, "forever");
    writeFileSync(path, await assembleElf(FOREVER));
    // Descriptor 3 is the pipe: its second line says that the program has run behind its first call.
    const script = `mkfifo '${FOLDER}/p'; "$NODE" --input-type=module -e "$CODE" -- exec --trace '${FOLDER}/t' '${path}' > '${FOLDER}/p' & exec 3< '${FOLDER}/p'; read line <&3; read line <&3; kill -INT $!; cat <&3 > /dev/null; wait $!; echo $?`;
    expect(shell(script).out).toBe("130\n");
    expect(readFileSync(join(FOLDER, "t"), "utf8")).toMatch(/^write\(1, "y\\n", 2\) += 2\n/);
  });
});
