// `quiesce sysfs`: livepatch's files at named instructions of a run, as a shell would read and write them.
import { beforeAll, describe, expect, it } from "vitest";
import * as v from "valibot";
import { run } from "../../src/cli/main.ts";
import { Sysfs } from "./schemas.ts";

const PATCH = "/sys/kernel/livepatch/stuck_patch";

async function sysfs(...words: readonly string[]) {
  let out = "";
  let err = "";
  const stdout = { write: (text: string) => (out += text) };
  const stderr = { write: (text: string) => (err += text) };
  const code = await run(["sysfs", "stuck", "--seed", `${seed}`, ...words], { stdout, stderr });
  return { code, out, err };
}

// Whether everybody is switched at once depends on the schedule: the first seed under which the transition takes a while.
let seed = 0;
beforeAll(async () => {
  do {
    seed++;
    if (seed > 40) throw new Error("the transition is over at once under every seed");
  } while ((await sysfs("stuck_patch/transition")).out !== "1\n");
});

/** The text without the instructions before the commands. */
const commands = (out: string): string => out.replaceAll(/^\[ *[0-9]+\] /gm, "");

describe("quiesce sysfs", () => {
  it("shows the whole tree with the modes of the kernel's attributes", async () => {
    const r = await sysfs();
    expect(r).toMatchObject({ code: 0, err: "" });
    const lines = r.out.split("\n");
    expect(lines.slice(0, 10)).toEqual([
      "drwxr-xr-x /sys/kernel/livepatch",
      `drwxr-xr-x ${PATCH}`,
      `-rw-r--r-- ${PATCH}/enabled = 1`,
      `--w------- ${PATCH}/force`,
      `-r--r--r-- ${PATCH}/replace = 0`,
      `-r--r--r-- ${PATCH}/stack_order = 1`,
      `-r--r--r-- ${PATCH}/transition = 1`,
      `drwxr-xr-x ${PATCH}/vmlinux`,
      `drwxr-xr-x ${PATCH}/vmlinux/stuck_count,1`,
      `-r--r--r-- ${PATCH}/vmlinux/patched = 1`,
    ]);
    expect(
      lines.filter((l) => / \/proc\/[0-9]+\/patch_state = [01]$/.test(l)).length,
    ).toBeGreaterThan(3);
    const at = lines.indexOf("drwxr-xr-x /sys/module/stuck_patch");
    expect(lines.slice(at + 1, at + 5)).toEqual([
      "-r--r--r-- /sys/module/stuck_patch/initstate = live",
      "-r--r--r-- /sys/module/stuck_patch/refcnt = 1",
      "-r--r--r-- /sys/module/stuck_patch/taint = OK",
      expect.stringMatching(
        /^-r--r--r-- \/proc\/modules = stuck_patch [0-9]+ 1 - Live 0x[0-9a-f]{16} \(OK\)$/,
      ),
    ]);
  });

  it("prints one file as cat does", async () => {
    expect(await sysfs("stuck_patch/transition")).toEqual({ code: 0, out: "1\n", err: "" });
  });

  it("reverses a transition that is under way, and the patch is gone when that has ended", async () => {
    const r = await sysfs(
      "stuck_patch/transition",
      "stuck_patch/enabled=0",
      "stuck_patch/transition",
      "stuck_patch/enabled",
      "wait=400000",
      "/sys/kernel/livepatch",
      "--log",
    );
    expect(r).toMatchObject({ code: 0, err: "" });
    const [text = "", log = ""] = r.out.split("\n\n");
    expect(commands(text).split("\n")).toEqual([
      `# cat ${PATCH}/transition`,
      "1",
      `# echo 0 > ${PATCH}/enabled`,
      `# cat ${PATCH}/transition`,
      "1",
      `# cat ${PATCH}/enabled`,
      "0",
      "# wait 400000",
      expect.stringMatching(/^the transition is over at [0-9]+$/),
      "# ls -l /sys/kernel/livepatch",
    ]);
    const lines = commands(log).trimEnd().split("\n");
    expect(lines.filter((l) => !l.includes("klp_try_switch_task"))).toEqual([
      "stuck_patch: loading out-of-tree module taints kernel.",
      "stuck_patch: tainting kernel with TAINT_LIVEPATCH",
      "livepatch: enabling patch 'stuck_patch'",
      "livepatch: 'stuck_patch': initializing patching transition",
      "livepatch: 'stuck_patch': starting patching transition",
      "livepatch: 'stuck_patch': reversing transition from patching to unpatching",
      "livepatch: 'stuck_patch': starting unpatching transition",
      "livepatch: 'stuck_patch': completing unpatching transition",
      "livepatch: 'stuck_patch': unpatching complete",
    ]);
  });

  it("answers writes as write(2) does, and exits 1", async () => {
    const r = await sysfs(
      "stuck_patch/enabled=1",
      "stuck_patch/enabled=x",
      "stuck_patch/transition=1",
      "stuck_patch=1",
      "/proc/1/patch_state=0",
      "stuck_patch/force",
      "stuck_patch/force=1",
      "wait=400000",
      "stuck_patch/force=1",
      "stuck_patch/transition",
    );
    expect(r).toMatchObject({ code: 1, err: "" });
    const answers = commands(r.out)
      .split("\n")
      .filter((l) => !l.startsWith("#"));
    expect(answers).toEqual([
      "write error: Invalid argument",
      "write error: Invalid argument",
      "write error: Permission denied",
      "write error: Is a directory",
      "write error: Invalid argument",
      "read error: Permission denied",
      expect.stringMatching(/^the transition is over/),
      "write error: Invalid argument",
      "0",
      "",
    ]);
  });

  it("has the documented JSON form, with an errno for each step", async () => {
    const words = ["stuck_patch/enabled=1", "wait=1000", "stuck_patch", "--json", "--vcpus", "1"];
    const r = await sysfs(...words);
    const report = v.parse(Sysfs, JSON.parse(r.out));
    expect(report.vcpus).toBe(1);
    expect(report.actions.map((a) => [a.action, a.errno])).toEqual([
      ["write", 22],
      ["wait", 0],
      ["list", 0],
    ]);
    expect((await sysfs(...words)).out).toBe(r.out);
  });

  const BAD: readonly (readonly [string, RegExp])[] = [
    ["stuck_patch/enabld", /^error: .*\/enabld: no such file .* expected '.*\/enabled' or another/],
    ["nothing/enabled=0", /^error: .*\/nothing\/enabled: no such file or directory at instruction/],
    ["wait=x", /^error: wait: 'x' is not a whole number from 1 to 1000000000$/],
    ["=1", /^error: sysfs: '=1' has no path, expected PATH=VALUE$/],
    ["--mechanism=kpatch", /^error: mechanism: 'kpatch' has no files in sysfs, expected klp$/],
  ];
  it.each(BAD)("answers `%s` with one line and exit 2", async (word, line) => {
    const r = await sysfs(word);
    expect(r.code).toBe(2);
    expect(r.err.trimEnd()).toMatch(line);
    expect(r.err.split("\n")).toHaveLength(2);
  });
});
