// The core against this machine's own CPU, live, where there is one to compare with. A longer run is
// `node scripts/campaign-native.mjs`.
import { afterAll, describe, expect, test } from "vitest";
import { runCampaign } from "./native/campaign.ts";
import { openNative } from "./native/native.ts";

const SEQUENCES = 3000;
const SEED = 7_000_000;
const native = openNative();

describe("this machine's CPU", () => {
  afterAll(() => {
    if (native.ok) native.cpu.close();
  });
  const name = native.ok ? "" : ` (skipped: ${native.reason})`;
  test.skipIf(!native.ok)(`${SEQUENCES} random sequences do the same on both${name}`, () => {
    if (!native.ok) return;
    const r = runCampaign(native.cpu, SEED, SEQUENCES);
    expect(r.mismatches).toEqual([]);
    expect(r.instructions).toBeGreaterThan(4 * SEQUENCES);
    // The sequences reach their ends, and every kind of fault that user mode can have.
    expect([...r.vectors.keys()].toSorted((a, b) => a - b)).toEqual([0, 3, 6, 12, 13, 14, 16, 19]);
  });
});
