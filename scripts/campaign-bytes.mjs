// Random bytes as code, as test/isa has it, in big numbers: node scripts/campaign-bytes.mjs [COUNT]. Exit 0: as iced-x86
// has it, and nothing hung or threw.
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const count = process.argv[2] ?? "10000000";
const r = spawnSync(
  process.execPath,
  ["node_modules/vitest/vitest.mjs", "run", "test/isa/bytes.test.ts", "test/isa/page-end.test.ts"],
  { cwd: top, stdio: "inherit", env: { ...process.env, QUIESCE_BYTES: count } },
);
process.exit(r.status ?? 1);
