// Reports of real runs as text and JSON: what a person must find in them, and that the bytes do not change.
import { beforeAll, describe, expect, it } from "vitest";
import {
  parseRepro,
  replay,
  replayTo,
  runExplained,
  runOne,
  sweep,
  type Prepared,
  type Run,
} from "../../src/explore/index.ts";
import {
  isAsClaimed,
  mismatchText,
  momentText,
  replayText,
  runTable,
  storyText,
  sweepText,
  toJson,
} from "../../src/report/index.ts";
import { mechanism, prepared } from "../explore/prepared.ts";

let p: Prepared;
let stuck: Prepared;
let naive: Run;
beforeAll(async () => {
  p = await prepared("default");
  stuck = await prepared("stuck");
  naive = runExplained(p, mechanism("naive"), { seed: 1, at: 0 });
});

describe("the table of runs", () => {
  it("has a row for each mechanism, with the reason where one broke or refused", () => {
    const reports = [
      naive.report,
      runOne(p, mechanism("simple"), { seed: 1, at: 0 }).report,
      runOne(stuck, mechanism("simple"), { seed: 1, at: 0 }).report,
    ];
    const text = runTable(reports);
    expect(text).toMatch(/naive\s+│ applied\s+│ violated/);
    expect(text).toMatch(/simple\s+│ applied\s+│ consistent/);
    expect(text).toMatch(/simple\s+│ refused\s+│ consistent/);
    expect(text.replace(/\s*│[\s│]*/g, " ")).toMatch(/BUG: xfer: a chunk exceeds/);
    expect(text.replace(/\s*│[\s│]*/g, " ")).toMatch(/sleeper: has not come to the checkpoint/);
  });

  it("says of each run whether it is as the scenario claims", () => {
    const { claims } = p.built.scenario;
    expect(runTable([naive.report], claims)).toMatch(/violated +│ yes/);
    const wrong = { naive: { result: "applied", verdict: "consistent" } };
    expect(runTable([naive.report], wrong)).toMatch(/violated +│ NO/);
    expect(isAsClaimed(naive.report, claims["naive"])).toBe(true);
    expect(isAsClaimed(naive.report, undefined)).toBe(false);
  });
});

describe("the story of a violation", () => {
  it("says who was where, both variants, both stacks, and how to see it again", () => {
    const { story, report } = naive;
    if (story === undefined) throw new Error("no story");
    const text = report.violations[0]?.repro ?? "";
    const told = storyText("naive", story, { text, file: "naive.repro" });
    expect(told).toMatch(/^naive: bug violated at instruction [0-9]+ on vCPU [01]\n/);
    expect(told).toMatch(/xfer_queue: old at 0xffffffff8[0-9a-f]+ .*, new at 0xffffffffa[0-9a-f]+/);
    expect(told).toMatch(/paced \(pid [0-9]+\), on vCPU [01], in system call __x64_sys_xfer/);
    expect(told).toMatch(/truth +frame pointers/);
    expect(told).toMatch(/xfer_queue\+0xe\/0x1c \[patch\] +xfer_queue\+0xe\/0x1c \[patch\]/);
    expect(told).toMatch(/xfer_submit\+0x[0-9a-f]+\/0x53 +xfer_submit/);
    expect(told).toContain("npx quiesce replay naive.repro\n");
  });
});

describe("a replay", () => {
  it("says that it reproduced, and shows the state at an instruction", () => {
    const parsed = parseRepro(naive.report.violations[0]?.repro ?? "");
    if (!parsed.ok) throw new Error(parsed.reason);
    const m = mechanism("naive");
    expect(replayText("naive", replay(p, m, parsed.repro))).toMatch(/^reproduced: /);
    const moment = replayTo(p, m, parsed.repro, 5000);
    expect(moment.ok && momentText(moment)).toMatch(/^at instruction 5000\n  vCPU 0: /);
    const other = replay(p, m, { ...parsed.repro, image: "00" });
    expect(other.ok ? "" : mismatchText(other)).toMatch(
      /^the repro is for another image: 00, found /,
    );
  });
});

describe("a sweep", () => {
  it("is told with its counts, and that it was not finished", async () => {
    const spec = { points: 8, seeds: [1] };
    const s = await sweep(p, mechanism("naive"), spec, ({ done }) => done < 3);
    const text = sweepText(s);
    expect(text).toContain("3 points under one schedule");
    expect(text).toContain("3 applied; 3 violated");
    expect(text).toContain("not all of those asked for");
  });
});

describe("JSON", () => {
  it("of the same run has the same bytes, and no number for an address", () => {
    const again = runExplained(p, mechanism("naive"), { seed: 1, at: 0 });
    expect(toJson(again.report)).toBe(toJson(naive.report));
    expect(naive.report.violations[0]?.ip).toMatch(/^0x[0-9a-f]+$/);
    expect(toJson({ va: 0xffffffff81000000n, n: 3 })).toBe(
      '{\n  "va": "0xffffffff81000000",\n  "n": 3\n}\n',
    );
  });
});
