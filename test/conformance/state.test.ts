// tools/testing/selftests/livepatch/test-state.sh: livepatches that modify a state of the system, the log level of the
// console, and take it over from each other.
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { echo, failedInsmod, insmod, lines, rmmod } from "./events.ts";
import { makeLab, type Lab } from "./lab.ts";

const STATE = "test_klp_state";
const STATE2 = "test_klp_state2";
const STATE3 = "test_klp_state3";
const BEFORE = 7n;
const MOTORMOUTH = 15n;

/** What the callbacks do with the stored value, by the words of the first and the last half of a transition. */
const DOES = {
  allocate: "allocate_loglevel_state: allocating space to store console_loglevel",
  already: "allocate_loglevel_state: space to store console_loglevel already allocated",
  fix: "fix_console_loglevel: fixing console_loglevel",
  takeOver: "fix_console_loglevel: taking over the console_loglevel change",
  restore: "restore_console_loglevel: restoring console_loglevel",
  free: "free_loglevel_state: freeing space for the stored console_loglevel",
} as const;

function enabled(p: string, first: keyof typeof DOES, last: keyof typeof DOES): readonly string[] {
  return [
    insmod(p),
    ...lines(p, "E I+ pre+(vmlinux)"),
    `${p}: ${DOES[first]}`,
    ...lines(p, "S+ C+ post+(vmlinux)"),
    `${p}: ${DOES[last]}`,
    ...lines(p, "D+"),
  ];
}

function disabled(p: string): readonly string[] {
  return [
    echo("0", `${p}/enabled`),
    ...lines(p, "I- pre-(vmlinux)"),
    `${p}: ${DOES.restore}`,
    ...lines(p, "S- C- post-(vmlinux)"),
    `${p}: ${DOES.free}`,
    ...lines(p, "D-"),
    rmmod(p),
  ];
}

let lab: Lab;
beforeAll(async () => {
  lab = await makeLab();
});
beforeEach(() => lab.reset());

const level = (): bigint => lab.word("console_loglevel", 4);

describe("test-state", () => {
  test("system state modification", () => {
    expect(level()).toBe(BEFORE);
    lab.load(STATE);
    expect(level()).toBe(MOTORMOUTH);
    lab.disable(STATE);
    expect(level()).toBe(BEFORE);
    lab.unload(STATE);
    expect(lab.log()).toEqual([...enabled(STATE, "allocate", "fix"), ...disabled(STATE)]);
  });

  test("taking over system state modification", () => {
    lab.load(STATE);
    lab.load(STATE2);
    lab.unload(STATE);
    expect(level()).toBe(MOTORMOUTH);
    lab.disable(STATE2);
    expect(level()).toBe(BEFORE);
    lab.unload(STATE2);
    expect(lab.log()).toEqual([
      ...enabled(STATE, "allocate", "fix"),
      ...enabled(STATE2, "already", "takeOver"),
      rmmod(STATE),
      ...disabled(STATE2),
    ]);
  });

  test("compatible cumulative livepatches", () => {
    lab.load(STATE2);
    lab.load(STATE3);
    lab.unload(STATE2);
    lab.load(STATE2);
    lab.disable(STATE2);
    expect(level()).toBe(BEFORE);
    lab.unload(STATE2);
    lab.unload(STATE3);
    expect(lab.log()).toEqual([
      ...enabled(STATE2, "allocate", "fix"),
      ...enabled(STATE3, "already", "takeOver"),
      rmmod(STATE2),
      ...enabled(STATE2, "already", "takeOver"),
      ...disabled(STATE2),
      rmmod(STATE3),
    ]);
  });

  test("incompatible cumulative livepatches", () => {
    lab.load(STATE2);
    expect(lab.insmod(STATE)).toBe(-22);
    expect([lab.modules(), lab.patches(), level()]).toEqual([[STATE2], [STATE2], MOTORMOUTH]);
    lab.disable(STATE2);
    expect(level()).toBe(BEFORE);
    lab.unload(STATE2);
    expect(lab.log()).toEqual([
      ...enabled(STATE2, "allocate", "fix"),
      insmod(STATE),
      ...lines(STATE, "NC"),
      failedInsmod(STATE, "Invalid parameters"),
      ...disabled(STATE2),
    ]);
  });
});
