// tools/testing/selftests/livepatch/test-sysfs.sh: which files a patch has, with which rights, and what they say.
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { echo, insmod, lines, off, on, rmmod } from "./events.ts";
import { makeLab, type Lab } from "./lab.ts";

const LP = "test_klp_livepatch";
const REPLACE = "test_klp_atomic_replace";
const SYSCALL = "test_klp_syscall";
const DEMO = "test_klp_callbacks_demo";
const MOD = "test_klp_callbacks_mod";

let lab: Lab;
beforeAll(async () => {
  lab = await makeLab();
});
beforeEach(() => lab.reset());

describe("test-sysfs", () => {
  test("sysfs test", () => {
    lab.load(LP);
    const modes = {
      [LP]: "drwxr-xr-x",
      [`${LP}/enabled`]: "-rw-r--r--",
      [`${LP}/force`]: "--w-------",
      [`${LP}/replace`]: "-r--r--r--",
      [`${LP}/stack_order`]: "-r--r--r--",
      [`${LP}/transition`]: "-r--r--r--",
      [`${LP}/vmlinux`]: "drwxr-xr-x",
      [`${LP}/vmlinux/patched`]: "-r--r--r--",
      [`${LP}/vmlinux/cmdline_proc_show,1`]: "drwxr-xr-x",
    };
    expect(Object.fromEntries(Object.keys(modes).map((f) => [f, lab.mode(f)]))).toEqual(modes);
    const values = { enabled: "1", stack_order: "1", transition: "0", "vmlinux/patched": "1" };
    for (const [file, value] of Object.entries(values)) {
      expect([file, lab.cat(`${LP}/${file}`)]).toEqual([file, value]);
    }
    expect(lab.cat(`${LP}/force`)).toBe(undefined);
    lab.disable(LP);
    expect(lab.mode(LP)).toBe(undefined);
    lab.unload(LP);
    expect(lab.log()).toEqual([...on(LP), ...off(LP), rmmod(LP)]);
  });

  test("what may not be written", () => {
    lab.load(LP);
    expect(lab.echo(`${LP}/enabled`, "1")).toBe(-22);
    expect(lab.echo(`${LP}/enabled`, "x")).toBe(-22);
    expect(lab.echo(`${LP}/force`, "1")).toBe(-22);
    expect(lab.echo(`${LP}/transition`, "1")).toBe(-13);
    expect(lab.echo(`${LP}/nothing`, "1")).not.toBe(0);
    expect(lab.echo(`${DEMO}/enabled`, "0")).toBe(-2);
    expect(lab.log().filter((l) => !l.startsWith("%"))).toEqual(lines(LP, "ON"));
  });

  test("sysfs test object/patched", () => {
    lab.load(DEMO);
    expect(lab.cat(`${DEMO}/${MOD}/patched`)).toBe("0");
    lab.insmod(MOD);
    expect(lab.cat(`${DEMO}/${MOD}/patched`)).toBe("1");
    lab.rmmod(MOD);
    expect(lab.cat(`${DEMO}/${MOD}/patched`)).toBe("0");
    lab.disable(DEMO);
    lab.unload(DEMO);
    expect(lab.log()).toEqual([
      insmod(DEMO),
      ...lines(DEMO, "E I+ pre+(vmlinux) S+ C+ post+(vmlinux) D+"),
      insmod(MOD),
      ...lines(DEMO, `A(${MOD}) pre+(${MOD} COMING) post+(${MOD} COMING)`),
      `${MOD}: ${MOD}_init`,
      rmmod(MOD),
      `${MOD}: ${MOD}_exit`,
      ...lines(DEMO, `pre-(${MOD} GOING) V(${MOD}) post-(${MOD} GOING)`),
      echo("0", `${DEMO}/enabled`),
      ...lines(DEMO, "I- pre-(vmlinux) S- C- post-(vmlinux) D-"),
      rmmod(DEMO),
    ]);
  });

  test.each([
    ["enabled", "1"],
    ["disabled", "0"],
  ])("sysfs test replace %s", (_, value) => {
    lab.load(REPLACE, `replace=${value}`);
    expect(lab.cat(`${REPLACE}/replace`)).toBe(value);
    lab.disable(REPLACE);
    lab.unload(REPLACE);
    expect(lab.log()).toEqual([
      ...on(REPLACE, `replace=${value}`),
      ...off(REPLACE),
      rmmod(REPLACE),
    ]);
  });

  test("sysfs test stack_order value", () => {
    const order = (name: string): string | undefined => lab.cat(`${name}/stack_order`);
    lab.load(LP);
    lab.load(SYSCALL);
    lab.load(REPLACE, "replace=0");
    expect([LP, SYSCALL, REPLACE].map(order)).toEqual(["1", "2", "3"]);
    lab.disable(SYSCALL);
    lab.unload(SYSCALL);
    expect([LP, REPLACE].map(order)).toEqual(["1", "2"]);
    lab.disable(REPLACE);
    lab.unload(REPLACE);
    lab.disable(LP);
    lab.unload(LP);
    expect(lab.log()).toEqual([
      ...on(LP),
      ...on(SYSCALL),
      ...on(REPLACE, "replace=0"),
      ...off(SYSCALL),
      rmmod(SYSCALL),
      ...off(REPLACE),
      rmmod(REPLACE),
      ...off(LP),
      rmmod(LP),
    ]);
  });
});
