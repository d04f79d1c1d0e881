// Scripts of builtins in busybox's shell, by exec and natively: what is printed on both descriptors and the exit code. It needs a
// static busybox, which it looks for where distributions put it.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ProgramError, readProgram, UserProcess } from "../../src/user/index.ts";
import { CORE } from "./cases.ts";

const PLACES = ["/usr/bin/busybox", "/bin/busybox", "/usr/bin/busybox-static"];
const INPUT = "a=1\n#c\nb=two words\npath=/x:/y\n\nlast line no newline";
const ARGS = ["name", "p1", "p 2"];

/** A busybox that both can run, or why there is none. */
function find(): { readonly path: string; readonly file: Uint8Array } | string {
  if (process.platform !== "linux" || process.arch !== "x64") return "needs Linux on x86-64";
  for (const path of PLACES) {
    try {
      const file = readFileSync(path);
      readProgram(file, path);
      return { path, file };
    } catch (e) {
      if (e instanceof ProgramError) return `${path} is no static program`;
    }
  }
  return "no busybox";
}

const SCRIPTS: readonly (readonly [string, string])[] = [
  ["loops, case and arithmetic", "i=0; while [ $i -lt 20 ]; do case $i in [0-3]) echo low $i;; 4|5) echo mid;; *7*) i=$((i+2)); continue;; esac; i=$((i+1)); done; echo $((0x1f * 3 - 7 % 4 << 2 ^ 5)) $((i>3?1:2)) $((9223372036854775807+1)) $((-7/2)) $((-7%3)) $((1<<63))"],
  ["set -e, functions, EXIT", "set -e; f() { local a=$1; shift; echo \"$a:$#:$*\"; return 3; }; f 1 2 '3 4' || echo rc $?; trap 'echo bye $?' EXIT; ! true || echo x; for x in a 'b c' 'd*'; do printf '[%s]' \"$x\"; done; echo; false; echo not reached"],
  ["read from standard input", "while read -r a b c; do echo \"a=$a b=$b c=$c\"; done; echo end $? $a"],
  ["read and eval", "n=0; while read line; do n=$((n+1)); case $line in \\#*) ;; ?*=*) k=${line%%=*}; v=${line#*=}; eval \"cfg_$k=\\$v\";; esac; done; echo $n $cfg_a $cfg_b $cfg_path; read -n 2 q; echo $?; echo ${cfg_zz:?missing}; echo no"],
  ["getopts, IFS, parameters", "while getopts ab:c o -a -b val -c x y; do echo \"$o ${OPTARG-none} $OPTIND\"; done; set -- 1 2 3; shift 2; echo $1 $#; IFS=:; set -- a:b:c; for i in $1; do echo $i; done; x=abcdef; echo ${x#ab} ${x%f} ${x:2:3} ${#x} ${y:-def} ${y:=set} $y ${x/cd/XX}"],
  ["here-documents and printf", "read x <<EOF\nhello   world $((1+1))\nEOF\necho \"$x\"; while IFS= read -r l; do echo \"<$l>\"; done <<'EOT'\n  raw $x\n\ttab\nEOT\nprintf '%5d|%-5s|%x|%o|%c|%b\\n' 42 ab 255 8 xyz 'a\\tb'; printf '%s %s\\n' a b c; printf '%.3f %e %g\\n' 3.14159 12345.678 0.0001; echo -e 'a\\nb\\x41'"],
  ["signals to itself", "trap 'echo usr1' USR1; kill -USR1 $$; trap '' TERM; kill -TERM $$; echo alive; trap; trap - TERM; exit 7"],
  ["descriptors", "exec 3>&1; echo three >&3; exec 3>&-; echo x >&3; echo rc $?; echo err >&2; { echo grp; } 2>&1; test -e /dev/null && echo yes; [ -d / ] && echo dir; [ a \\< b ] && echo lt; [ 3 -gt 2 -a 1 -eq 1 ] && echo and"],
  ["recursion", "fib() { if [ $1 -lt 2 ]; then r=$1; else fib $(($1-1)); set -- $1 $r; fib $(($1-2)); r=$((r+$2)); fi; }; fib 12; echo $r \"$@\" $0; a=1; until [ $a -gt 1000 ]; do a=$((a*2)); done; echo $a; for i in 1 2 3 4 5 6 7; do for j in 1 2 3; do [ $j = 2 ] && continue 2; echo $i$j; [ $i = 5 ] && break 2; done; done"],
  ["long strings", "s=; i=0; while [ $i -lt 2000 ]; do s=\"$s$i,\"; i=$((i+1)); done; echo ${#s} ${s%,1990,*}"],
  ["an error of arithmetic", "echo $((1+)); echo next"],
  ["an exit code beyond 255", "exit 300"],
]; // prettier-ignore

const busybox = find();
const why = typeof busybox === "string" ? ` (skipped: ${busybox})` : "";

describe.skipIf(typeof busybox === "string")(
  `a script of builtins does by exec what it does natively${why}`,
  () => {
    it.each(SCRIPTS)("%s", (_name, script) => {
      if (typeof busybox === "string") return;
      const argv = ["sh", "-c", script, ...ARGS];
      const r = spawnSync(busybox.path, argv, { input: INPUT, env: { A: "b" }, cwd: "/" });
      const seen = [Buffer.from(""), Buffer.from("")];
      let input = Buffer.from(INPUT);
      const process = new UserProcess({
        core: CORE,
        ramBytes: 64 << 20,
        program: readProgram(busybox.file, busybox.path),
        argv: [busybox.path, ...argv],
        env: ["A=b"],
        exe: busybox.path,
        seed: 1,
        io: {
          write: (fd, b) => {
            seen[fd - 1] = Buffer.concat([seen[fd - 1] ?? Buffer.from(""), b]);
            return b.length;
          },
          read: (n) => {
            const part = input.subarray(0, n);
            input = input.subarray(n);
            return part;
          },
        },
      });
      const { end } = process.run(200_000_000);
      expect({ end, out: String(seen[0]), err: String(seen[1]) }).toEqual({
        end: { kind: "exit", status: r.status },
        out: String(r.stdout),
        err: String(r.stderr),
      });
      expect(r.stdout.length + r.stderr.length + (r.status ?? 0)).toBeGreaterThan(0);
    });
  },
);
