// Numbers of the Linux x86-64 system-call interface that this folder uses, under the kernel's names: errors, signals,
// protections, mapping flags. From include/uapi of v6.12; no logic.

export const EPERM = 1;
export const ENOENT = 2;
export const ESRCH = 3;
export const EIO = 5;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EFAULT = 14;
export const EEXIST = 17;
export const ENODEV = 19;
export const EINVAL = 22;
export const ENOTTY = 25;
export const ESPIPE = 29;
export const EPIPE = 32;
export const ERANGE = 34;
export const EDEADLK = 35;
export const ENOSYS = 38;
export const ETIMEDOUT = 110;

/** Names of the errors, for traces. */
export const ERRNO_NAMES: Readonly<Record<number, string>> = {
  [EPERM]: "EPERM",
  [ENOENT]: "ENOENT",
  [ESRCH]: "ESRCH",
  [EIO]: "EIO",
  [EBADF]: "EBADF",
  [EAGAIN]: "EAGAIN",
  [ENOMEM]: "ENOMEM",
  [EFAULT]: "EFAULT",
  [EEXIST]: "EEXIST",
  [ENODEV]: "ENODEV",
  [EINVAL]: "EINVAL",
  [ENOTTY]: "ENOTTY",
  [ESPIPE]: "ESPIPE",
  [EPIPE]: "EPIPE",
  [ERANGE]: "ERANGE",
  [EDEADLK]: "EDEADLK",
  [ENOSYS]: "ENOSYS",
  [ETIMEDOUT]: "ETIMEDOUT",
};

export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const PROT_EXEC = 4;

export const MAP_TYPE = 0xf;
export const MAP_SHARED_VALIDATE = 3;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;
export const MAP_FIXED_NOREPLACE = 0x100000;
export const MREMAP_MAYMOVE = 1;
export const MREMAP_FIXED = 2;
export const MADV_DONTNEED = 4;

export const SIGILL = 4;
export const SIGTRAP = 5;
export const SIGBUS = 7;
export const SIGFPE = 8;
export const SIGKILL = 9;
export const SIGSEGV = 11;
export const SIGPIPE = 13;
export const SIGSTOP = 19;
export const NSIG = 64;

/** Names of the signals below the real-time ones. */
export const SIGNAL_NAMES: readonly string[] = [
  "0", "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGUSR1",
  "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP",
  "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS",
]; // prettier-ignore

export function signalName(signal: number): string {
  return SIGNAL_NAMES[signal] ?? `SIGRT${signal - 32}`;
}

export const SIG_DFL = 0n;
export const SIG_IGN = 1n;
export const SA_ONSTACK = 0x08000000n;
export const SA_RESTORER = 0x04000000n;
export const SA_NODEFER = 0x40000000n;
export const SA_RESETHAND = 0x80000000n;
export const SS_ONSTACK = 1;
export const SS_DISABLE = 2;
export const SS_AUTODISARM = 0x80000000;

export const SI_USER = 0;
export const SI_KERNEL = 0x80;
export const SI_TKILL = -6;
export const ILL_ILLOPN = 2;
export const FPE_INTDIV = 1;
export const SEGV_MAPERR = 1;
export const SEGV_ACCERR = 2;
export const BUS_ADRALN = 1;
export const TRAP_TRACE = 2;

export const PAGE = 4096;
/** The end of user addresses: one page below the canonical hole, as TASK_SIZE_MAX. */
export const TASK_SIZE = 0x7fff_ffff_f000n;
/** vm.mmap_min_addr. */
export const MMAP_MIN_ADDR = 0x10000n;
