import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    // As ENGINE_FLAGS of src/machine/core.ts, for speed.
    execArgv: ["--no-turbo-use-mid-tier-regalloc-for-huge-functions", "--no-turbo-loop-rotation"],
  },
});
