// The recorded vectors of test/vectors: node scripts/vectors.mjs record [PATTERN] records what is missing or stale, and
// with a pattern, a regular expression on the names of forms, those anew; check [PATTERN] replays them on the emulator
// and, where it can, once more on this machine's CPU; show PATTERN prints them; sequences records the random sequences.
// Recording needs Linux on x86-64, gcc and a built dist/; docs/vectors.md says the rest. Exit 0: done; 1: something
// differs; 2: cannot be done here.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const load = async (name) =>
  (await runnerImport(join(top, "test/machine", name), { root: top, configFile: false })).module;
const print = (line) => process.stdout.write(`${line}\n`);
const fail = (line) => {
  process.stderr.write(`error: vectors: ${line}\n`);
  process.exit(2);
};

function cpuName() {
  const info = readFileSync("/proc/cpuinfo", "utf8");
  const field = (name) => new RegExp(`^${name}\\s*: (.*)$`, "m").exec(info)?.[1] ?? "?";
  const id = `${field("vendor_id")} family ${field("cpu family")} model ${field("model")}`;
  return `${id} stepping ${field("stepping")} (${field("model name")})`;
}

/** The part of KVM that runs a guest here, when there is hardware behind it: with kvm_pvm ring 0 is KVM's emulator. */
function kvmName() {
  return readdirSync("/sys/module").find((m) => /^kvm_(amd|intel)$/.test(m));
}

async function record(pattern) {
  const { openUser, openKvm } = await load("guest/cpu.ts");
  const { recordMissing } = await load("vectors/record.ts");
  const user = openUser();
  if (!user.ok) fail(user.reason);
  const part = kvmName();
  const kvm = part ? openKvm() : { ok: false, reason: "no KVM with hardware behind it" };
  if (!kvm.ok) print(`${kvm.reason}: ring 0 is by the manual`);
  const date = new Date().toISOString().slice(0, 10);
  const results = recordMissing({
    anew: (form) => pattern !== undefined && pattern.test(form.key),
    user: { cpu: user.cpu, name: `${cpuName()}, user mode, ${date}` },
    guest: kvm.ok ? { cpu: kvm.cpu, name: `${cpuName()}, guest of ${part}, ${date}` } : undefined,
    manual: `by the manual's Operation sections, ${date}`,
  });
  user.cpu.close();
  if (kvm.ok) kvm.cpu.close();
  for (const r of results) {
    const size = r.bytes ? `, ${r.bytes} bytes` : "";
    print(`${r.file}: ${r.recorded} forms recorded, ${r.kept} kept${size}`);
  }
}

async function check(pattern) {
  const { checkAll } = await load("vectors/check.ts");
  const { wrong, forms, cpu, kvm } = checkAll(pattern ?? /./);
  for (const w of wrong.slice(0, 400)) print(w);
  print(`${forms} forms, ${wrong.length} differences; ${cpu}; ${kvm}`);
  return wrong.length ? 1 : 0;
}

async function show(pattern) {
  const { showLines } = await load("vectors/check.ts");
  for (const line of showLines(pattern ?? /./)) print(line);
}

async function sequences() {
  const { openNative } = await load("native/native.ts");
  const { recordVectors } = await load("native/record.ts");
  const { packVectors } = await load("native/vectors.ts");
  const native = openNative();
  if (!native.ok) fail(native.reason);
  const vectors = recordVectors(native.cpu, 3000, 20150220);
  native.cpu.close();
  const packed = packVectors(cpuName(), vectors);
  writeFileSync(join(top, "test/vectors/sequences.bin.gz"), packed);
  print(`${vectors.length} sequences, ${packed.length} bytes`);
}

const [verb = "record", text] = process.argv.slice(2);
const pattern = text === undefined ? undefined : new RegExp(text);
if (verb === "record") await record(pattern);
else if (verb === "check") process.exit(await check(pattern));
else if (verb === "show") await show(pattern);
else if (verb === "sequences") await sequences();
else fail(`"${verb}" is none of record, check, show, sequences`);
