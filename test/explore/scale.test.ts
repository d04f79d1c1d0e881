// Many tasks: every mechanism comes to its end among 3,000, and what it costs is by the task. `npm run campaign -- scale`
// does the same with 100,000.
import { beforeAll, describe, expect, it } from "vitest";
import { runOne, type Prepared } from "../../src/explore/index.ts";
import { MECHANISMS } from "../../src/patch/index.ts";
import { leastTasks, loadScenario, withTasks } from "../../src/scenario/index.ts";
import { kernelFile } from "../scenario/files.ts";
import { prepared } from "./prepared.ts";

const SLOTS = 3000;
/** Slots that the crowd leaves to the scenario's own tasks. */
const FREE = 64;
const VCPUS = 8;
const scenario = loadScenario("default", kernelFile);

describe("3,000 slots for tasks on 8 vCPUs", () => {
  let p: Prepared;
  beforeAll(async () => {
    p = await prepared("default", withTasks(scenario, SLOTS), VCPUS);
  });

  it("are filled at the ready mark, with stacks of 4 KiB", () => {
    expect(p.session.tasks().length).toBeGreaterThan(SLOTS - FREE);
    expect(p.built.scenario).toMatchObject({ threadSize: 4096 });
  });

  it.each(Object.keys(MECHANISMS))("%s puts the patch in force as the scenario claims", (name) => {
    const m = MECHANISMS[name];
    if (m === undefined) throw new Error(`no mechanism ${name}`);
    const { report, trace } = runOne(p, m, { seed: 1, at: 0 });
    const there = trace.tasks.length;
    expect(there).toBeGreaterThan(SLOTS - FREE);
    const { result, verdict } = report;
    expect({ result, verdict }).toEqual(scenario.claims[name]);
    expect(report.tasks).toBe(there - VCPUS);
    if (verdict === "violated") return;
    // Not told of are the stoppers, and by some patchd and the two that hammer, which may have done their work and ended.
    expect(new Set(report.switched.map((s) => s.pid)).size).toBeGreaterThanOrEqual(
      report.tasks - VCPUS - 3,
    );
    expect(trace.ending.length).toBeGreaterThan(SLOTS - FREE);
    expect(trace.doneAt).toBeDefined();
    // One attempt of none of them costs a task more than its stack of 4 KiB word by word.
    expect(report.modelledInsns).toBeGreaterThan(SLOTS);
    expect(report.modelledInsns).toBeLessThan(5 * SLOTS * 512 * 9);
  });
});

describe("the least number of slots", () => {
  it.each([2, 8])("on %i vCPUs is what the tasks at the ready mark need", async (vcpus) => {
    const own = await prepared("default", {}, vcpus);
    const idle = own.session.tasks().filter((t) => t.isIdle).length;
    const least = leastTasks(scenario, vcpus);
    expect(own.session.tasks().length - idle + 8).toBe(least);
    const full = await prepared("default", withTasks(scenario, least), vcpus);
    expect(full.session.tasks().length).toBe(least - 8 + idle);
  });
});
