// The constants that both languages read: where everything lies in the wasm memory, and the numbers that
// cross the border. It imports nothing and holds only numbers, so that asc and tsc read the same file.
// State lies at fixed addresses because a specialiser of the compiled core needs to recognise it.

// The active vCPU. Switching vCPUs copies this block out to SAVE and the next one in.
export const CPU = 0x1000;
export const VCPU_SIZE = 0x400;
export const RAX = 0x1000; // sixteen general registers, 8 bytes each, in encoding order
export const RCX = 0x1008;
export const RDX = 0x1010;
export const RBX = 0x1018;
export const RSP = 0x1020;
export const RBP = 0x1028;
export const RSI = 0x1030;
export const RDI = 0x1038;
export const R8 = 0x1040;
export const R11 = 0x1058;
export const RIP = 0x1080; // valid outside of a block
export const RIP_PAGE = 0x1088; // va of the page that the running block is fetched from
export const CC_OP = 0x1090; // lazy flags: kind, result, and the two operands, sign-extended
export const CC_R = 0x1098;
export const CC_A = 0x10a0;
export const CC_B = 0x10a8;
export const EFL = 0x10b0; // rflags without cf pf af zf sf of
export const CPL = 0x10b8;
export const ZERO = 0x10c0; // always 0: the register of an address without base or index
export const FS_BASE = 0x10c8;
export const GS_BASE = 0x10d0;
export const KERNEL_GS_BASE = 0x10d8;
export const CR0 = 0x10e0;
export const CR2 = 0x10e8;
export const CR3 = 0x10f0;
export const CR4 = 0x10f8;
export const EFER = 0x1100;
export const STAR = 0x1108;
export const LSTAR = 0x1110;
export const CSTAR = 0x1118;
export const SFMASK = 0x1120;
export const GDTR_BASE = 0x1128;
export const GDTR_LIMIT = 0x1130;
export const IDTR_BASE = 0x1138;
export const IDTR_LIMIT = 0x1140;
export const TR_BASE = 0x1148;
export const TR_LIMIT = 0x1150;
export const SEG_ES = 0x1160; // selectors, u16 each, in encoding order es cs ss ds fs gs
export const SEG_CS = 0x1162;
export const SEG_SS = 0x1164;
export const SEG_DS = 0x1166;
export const SEG_FS = 0x1168;
export const SEG_GS = 0x116a;
export const SEG_TR = 0x116c;
export const SEG_LDTR = 0x116e;
export const HALTED = 0x1170; // u32: 1 after hlt until an interrupt, 2 shut down, 3 waiting for a start-up IPI
export const INT_SHADOW = 0x1174; // u32: SHADOW_*
export const NMI_BLOCKED = 0x1178; // u32: from an NMI to the next iret
export const SEG_DPL = 0x117c; // u32: 4 | DPL of what es, ds, fs and gs were loaded with, 3 for conforming code; 4 bits each, by number
export const TIME = 0x1180; // u64: this vCPU's virtual time, in instructions
export const RETIRED = 0x1188; // u64: instructions that this vCPU retired
export const STK_LO = 0x1190; // the stack that rsp is on: low end, size, shadow, top of its chain
export const STK_SIZE = 0x1198;
export const STK_TOP_VA = 0x11a0; // va of the lowest live slot, all ones when there is none
export const STK_SHADOW = 0x11a8; // u32: wasm address of its shadow
export const STK_META = 0x11ac; // u32: wasm address of its StackMeta, 0 when rsp is on no known stack
export const STK_TOP = 0x11b0; // u32: slot number + 1 of the lowest live slot, 0 when there is none
export const U_CET = 0x11b8; // IA32_U_CET and IA32_S_CET, their trackers with them
export const TLB_R = 0x11c0; // u32: the read TLB in use (by vCPU and privilege)
export const TLB_W = 0x11c4;
export const JUMPS = 0x11c8; // u32: the jump cache in use
export const TSC_AUX = 0x11d0;
export const MSR_PAT = 0x11d8;
export const MSR_APIC_BASE = 0x11e0;
export const MSR_MISC = 0x11e8;
export const TSC_ADJUST = 0x11f0;
export const S_CET = 0x11f8;
export const DR0 = 0x1200; // dr0..dr7
export const XMM = 0x1240; // sixteen registers, XMM_SIZE each
export const XMM_SIZE = 16;
export const MXCSR = 0x1340; // u32
export const FPU = 0x1348; // the x87 part of an FXSAVE image: its first FPU_HEAD bytes, and
export const FPU_HEAD = 24;
export const FPU_REGS = 0x1360; // the physical registers, 16 bytes each
export const LDTR_BASE = 0x13e0;
export const LDTR_LIMIT = 0x13e8;
export const CAREFUL = 0x13f0; // u32: CAREFUL_*, 0 when blocks may execute as they are
export const DB_PENDING = 0x13f4; // u32: bits of DR6 that a finished instruction met and no #DB has reported

// The machine.
export const INSNS = 0x2000; // u64: instructions retired on all vCPUs, as of the last return to the host
export const LEFT = 0x2008; // i64: instructions left in the present run
export const GRANT = 0x2010; // i64: what LEFT was when INSNS and TIME were last brought up to date
export const FAULT = 0x2018; // i32: vector of a pending fault, -1 when there is none
export const FAULT_CODE = 0x201c; // i32: its error code, or NONCANONICAL
export const FAULT_VA = 0x2020; // u64: cr2 of a #PF
export const EXIT = 0x2028; // u32: Exit
export const EXIT_ARG = 0x2030; // u64
export const CURRENT = 0x2038; // u32: the active vCPU
export const NR_VCPUS = 0x203c; // u32
export const RAM_SIZE = 0x2040; // u64
export const ARENA_NEXT = 0x2048; // u32
export const NR_WATCHES = 0x204c; // u32
export const NR_STACK_AREAS = 0x2050; // u32
export const LOG_COUNT = 0x2054; // u32
export const NR_DIRTY = 0x2058; // u32
export const NR_TRACKED = 0x205c; // u32: pages of RAM, shadow and stack metadata
export const SNAP_ON = 0x2060; // u32: 1 once there is a base snapshot
export const SAVE_NEXT = 0x2064; // u32: next free page of the save area
export const SAVE_END = 0x2068; // u32
export const CODE_EPOCH = 0x206c; // u32: counts flushes of all decoded code
export const EXIT_RIP = 0x2070; // u64
export const LAST = 0x2078; // u32: LAST_*, of the instruction that executed last
export const BUFFERING = 0x2080; // u32: stores of the present instruction wait in the buffer
export const ONE = 0x207c; // u32: the record of the instruction that executes alone, 0 in a block
export const CET = 0x20a0; // u32: 1 when the CPUs have indirect branch tracking

export const SAVE = 0x3000; // inactive vCPUs, VCPU_SIZE each
export const APIC = 0x5000; // local APICs, APIC_SIZE each, never moved
export const APIC_SIZE = 0x100;
export const STATE_START = 0x1000; // [STATE_START, STATE_END) is what a snapshot stores besides pages
export const STATE_END = 0x5800;
export const MAX_VCPUS = 8;

export const WATCH = 0x6000; // watches, WATCH_SIZE each
export const WATCH_SIZE = 32;
export const MAX_WATCHES = 512;
export const STACK_AREAS = 0xa000; // stack areas, STACK_AREA_SIZE each
export const STACK_AREA_SIZE = 64;
export const MAX_STACK_AREAS = 16;
export const SCRATCH = 0xb000; // the block of an instruction that is never cached
export const TLB_EPOCH = 0xc140; // u64: counts how often a jump cache was emptied; no snapshot puts it back

export const SYS = 0xe000; // registers of each vCPU that only MSRs reach, SYS_SIZE each, never moved
export const SYS_SIZE = 0x200;
export const KINDS = 0xf000; // u8 by micro-op: KIND_*, for instructions that execute alone
export const KIND_RMW = 1; // reads the memory that it writes
export const KIND_LOCKED = 2; // and is locked without a prefix
export const KIND_DRAINS = 4; // makes all earlier stores visible
export const KIND_SERIALIZES = 8;

export const SLOTS = 0x10000; // u16 by map and opcode: 0 is #UD, a row, or a group
export const GROUPS = 0x11000; // u16 by prefix, mod, reg, rm
export const GROUP_BYTES = 1024;
export const MAX_GROUPS = 140;
export const SMALL_GROUPS = 0x34000; // u16 by prefix and whether ModRM names a register
export const SMALL_GROUP_BYTES = 16;
export const MAX_SMALL_GROUPS = 1024;
export const SLOT_GROUP = 0x8000;
export const SLOT_GROUP_PLAIN = 0x4000; // the group is chosen without a ModRM byte: its reg is REX.B
export const SLOT_GROUP_SMALL = 0x2000;
export const ROWS = 0x38000;
export const ROW_SIZE = 16;
export const MAX_ROWS = 2048;

export const TLBS = 0x40000; // per vCPU: read kernel, read user, write kernel, write user
export const TLB_ENTRIES = 256;
export const TLB_BYTES = 0x1000;
export const TLB_NONE = 0x60000; // a TLB without entries, to be copied
// An entry of the read TLB: the page's va, and what to add to an address in it. One of the write TLB: the va of a part of a
// page in which no code was decoded, its bytes, and what to add. All ones and a non-canonical va are no entry.
export const T_VA = 0; // u64
export const T_SPAN = 8; // u32, write only
export const T_ADD = 12; // u32; 0 in the window: then the low bits of the address are its place in RAM, whatever bit 31 is
export const WINDOW = 0x7fffffff; // those bits
export const JUMP_CACHES = 0x80000; // per vCPU: kernel, user
export const JUMP_ENTRIES = 1024;
export const JUMP_BYTES = 0x4000;
export const ADVERSARY = 0xe0000; // what each vCPU has not made visible and not fetched anew, ADVERSARY_SIZE each
export const ADVERSARY_SIZE = 0x2000;
export const ADV_COUNT = 0; // u32: stores in the buffer
export const ADV_RANDOM = 8; // u64
export const ADV_STORES = 0x20; // stores, STORE_SIZE each: pa u64, bytes u32, content
export const ADV_PAGES = 0xa00; // translations, 16 bytes each
export const STORE_SIZE = 32;
export const MAX_STORES = 32;
export const ADV_TAGS = 0x800; // u64: physical address of each line that was fetched
export const ADV_LINES = 0x1000; // and its content
export const BLOCK_HASH = 0x100000;
export const BLOCK_HASH_ENTRIES = 0x10000;
export const LOG = 0x180000; // probe records, LOG_SIZE each
export const LOG_SIZE = 40;
export const LOG_ENTRIES = 0x3000;
export const MAX_TRACKED = 0x80000;
export const PAGE_CODE = 0x200000; // u8 per page: PAGE_CODED, PAGE_TABLE, PAGE_PARTS; writes to it come to mmu.ts unless 0
export const PAGE_CLEAN = 0x280000; // u8 per page: not written since the base snapshot
export const PAGE_BLOCKS = 0x300000; // u32 per page: list of its blocks
export const CODE_LINES = 0x500000; // u64 per page: a bit per 64 bytes that a block was decoded from
export const DIRTY_LIST = 0x900000; // u32: pages written since the base snapshot
export const SAVED = 0xb00000; // u32 per page: wasm address of its content at the base snapshot as undo.ts packs it, or 0
export const ARENA = 0x1000000; // blocks of micro-ops
export const ARENA_END = 0x2000000;
export const RAM = 0x2000000;

// Micro-ops that no row makes: assembly/ids.ts names them. The near forms' numbers follow, then the rows'.
export const FIRST_NEAR_UOP = 8;
export const FIRST_ROW_UOP = 1024;
export const MAX_UOPS = 4096;

// What the hot loop has of the rows' micro-ops; src/isa/near.ts fills it.
export const NEAR_OF = 0xc0000; // u16 by a row's micro-op: NEAR_*, 0 when it has no near form
export const ROW_OF = 0xc2000; // u16 by near form: the row's micro-op whose record it stands in, with NEAR_SENSE
// when that is the one without the opposite, which stands FIRST_ROW_UOP further on
export const PAIR_FIRST = 0xc3000; // u8 by a row's micro-op: its line in PAIRS, or 0
export const PAIR_SECOND = 0xc4000; // u8 by a row's micro-op: its column, or 0
export const PAIRS = 0xc5000; // u16 by line and column: the near form of two micro-ops in a row, or 0
export const NEAR_UOP = 0x3ff; // its number
export const NEAR_NOT_RSP = 0x800; // not when its register is rsp
export const NEAR_NOT_NEXT = 0x1000; // not when it goes to the next instruction
export const NEAR_FACTOR = 0x2000; // not with a segment or address size; U_FACTOR is to be set
export const NEAR_SENSE = 0x4000; // it has a condition: U_SENSE is to be set
export const NEAR_OPPOSITE = 0x8000; // which is the opposite of the one that the form tests
export const QUIET_OF = 0xca000; // u16 by a row's micro-op: its near form that leaves the flags alone, or 0; NEAR_FACTOR
export const FLAG_ROLE = 0xcc000; // u8 by a row's micro-op: FLAGS_*
export const FLAGS_KILLED = 1; // it overwrites all flags and reads none, and cannot be stopped at
export const FLAGS_SHIFT = 3; // as FLAGS_KILLED if U_IMM is not 0 modulo 32
export const FLAGS_KEPT = 2; // it does not look at flags, and cannot be stopped at
export const CHAIN_FIRST = 0xcd000; // u16 by near form: its line in CHAINS, or 0
export const CHAIN_SECOND = 0xcd800; // u8 by near form: its column, or 0
export const LINEAR_OF = 0xce000; // u16 by near form: the form of LEA that does the same, and LINEAR_* above it, or 0
export const CHAIN_FORM = 0xce800; // u16 by line: the near form that does what led to it, or 0 when it is only a part of others
export const CHAINS = 0xcf000; // u16 by line and column: the line behind one more, or 0
export const CHAIN_COLUMNS = 96;
export const MAX_CHAIN_LINES = 360;
// What is to be set in a record that is to be a LEA: which register its base is, and its index or its displacement.
export const LINEAR_SHIFT = 10;
export const LINEAR_LEA = 1; // LEA without an index
export const LINEAR_MOV = 2;
export const LINEAR_CONSTANT = 3;
export const LINEAR_ADD = 4;
export const LINEAR_SUB = 5;
export const LINEAR_ADD_CONSTANT = 6;
export const LINEAR_SUB_CONSTANT = 7;
export const LINEAR_SHL = 8;
export const UOP_MISS = 5; // of the record at MISS alone
export const MISS = 0xc9000; // the record that ends the hot loop, and in MISSED (u32) the one at which
export const MISSED = 0xc9020;
export const LINK = MISS + 0x24; // u32: the link that the last jump went by
export const NO_LINK = 0xc9040; // the block that empty links lead to: it has one record, which looks for what the link is to be
export const UOP_LINK_UP = 6; // of that record alone
export const PAIR_COLUMNS = 32;
export const MAX_PAIR_LINES = 255;

// A micro-op record is 32 bytes.
export const UOP_SIZE = 32;
export const U_OP = 0; // u16
export const U_OFF = 2; // u16: offset of the instruction in its page
export const U_REM = 4; // u16: instructions from this one to the end of the block, itself included
export const U_LEN = 6; // u8: length of the instruction
export const U_MISC = 7; // u8: scale in bits 0-1, bit 2 address size 32, bit 3 rep, bit 4 repne, bit 5 lock, bit 6 memory operand
export const U_A = 8; // u16: wasm address of the first register operand
export const U_B = 10; // u16: of the second
export const U_BASE = 12; // u16: of the base register
export const U_INDEX = 14; // u16: of the index register
export const U_SENSE = 14; // u8, of a near form with a condition: 4 for the one that the form tests, 0 for its opposite
export const U_SEG = 16; // u16: of the segment base
export const U_FACTOR = 18; // i16, of a near form with an index: what it is multiplied by
export const U_DISP = 20; // i32
export const U_IMM = 24; // i64
export const U_LINK = 16; // u32: the block that a direct branch goes to, NO_LINK when not known yet
export const U_LINK2 = 20; // u32: the block that follows
export const U_SEEN = 8; // u64, of the record that asks for the second page: the page, vCPU and privilege that it was there for
export const U_EPOCH = 16; // u64: and TLB_EPOCH then
export const U_TARGET = 24; // i32: where a direct branch goes, relative to the page
export const U_NEXT = 28; // i32: what follows, relative to the page
export const MISC_ADDR32 = 4;
export const MISC_REP = 8;
export const MISC_REPNE = 16;
export const MISC_LOCK = 32;
export const MISC_MEM = 64;
export const MISC_NOTRACK = 128; // the prefix 3e

export const PAGE_CODED = 1; // decoded code lies here
export const PAGE_TABLE = 2; // a page walk has read it
export const PAGE_PARTS = 4; // a write TLB may hold a part of it

// A block is a header of 32 bytes and its records. That of an instruction that goes on in the next page has a second header behind
// them, a tail without records, which stands in the list of that page.
export const BLOCK_HEADER = 32;
export const B_COUNT = 0; // u32: instructions
export const B_LIVE = 4; // u32: LIVE_*, 0 once its bytes were written
export const LIVE_WHOLE = 1; // in one page
export const LIVE_ACROSS = 2; // in two
export const LIVE_TAIL = 3; // the tail of such a one
export const B_PA = 8; // u64: physical address of the first byte, bit 63 set when one instruction only
export const B_PAGE_NEXT = 16; // u32: next block of the page
export const B_HASH_NEXT = 20; // u32
export const B_BYTES = 24; // u16: bytes decoded from
export const B_RECORDS = 26; // u16
export const B_ONE = 28; // u32: the block of its first instruction alone, 0 when not known
export const B_OTHER = 28; // u32, in two pages: of the block its tail, of the tail its block
export const BLOCK_MAX_INSNS = 64;

// A row of the instruction table, ROW_SIZE bytes.
export const R_UOP = 0; // u16: first micro-op id of the row
export const R_WIDTH = 2; // u8: Width
export const R_FORM = 3; // u8: Form
export const R_A = 4; // u8: Operand, or FIXED_REG + number
export const R_B = 5; // u8
export const R_IMM = 6; // u8: Imm
export const R_BYTES = 7; // u8: bit 0 the first, bit 1 the second operand is a byte register
export const R_ATTR = 8; // u16: ATTR_*
export const R_MISC = 10; // u16: a number that the operation reads from its record (condition, ..)

export enum Width {
  One = 0,
  V = 1, // 16, 32, 64
  Y = 2, // 32, 64
}
export enum Form {
  None = 0, // no ModRM operand decides
  E = 1, // register, memory, indexed memory
  M = 2, // memory, indexed memory
  R = 3, // register only
}
export enum Operand {
  None = 0,
  Rm = 1,
  Reg = 2,
  Opcode = 3,
  Number = 4, // the ModRM reg field as a number: segment, control and debug registers
  Fs = 5, // the selectors
  Gs = 6,
  XmmRm = 7,
  XmmReg = 8,
  MmxRm = 9,
  MmxReg = 10,
}
export const FIXED_REG = 0x80;
export enum Imm {
  None = 0,
  Byte = 1, // ib, sign-extended
  Word = 2, // iw
  Z = 3, // iz: 16 or 32 bits, sign-extended
  V = 4, // iv: 16, 32 or 64 bits
  Rel8 = 5,
  Rel32 = 6,
  Offset = 7, // moffs
  Enter = 8, // iw ib
  One = 9, // the constant 1
}
export const ATTR_MODRM = 0x001;
export const ATTR_END = 0x002; // ends a block
export const ATTR_LOCK = 0x004; // LOCK is legal with a memory destination
export const ATTR_REP = 0x008; // REP and REPNE mean something
export const ATTR_D64 = 0x010; // operand size is 64 unless 66
export const ATTR_F64 = 0x020; // operand size is 64
export const ATTR_PRIV = 0x040; // #GP unless CPL is 0
export const ATTR_BRANCH = 0x080; // has U_LINK..U_NEXT instead of a memory operand
export const ATTR_SP = 0x100; // writes its first register operand: look at rsp afterwards
export const ATTR_SP_ALWAYS = 0x200; // changes rsp in some other way than by push or call
export const ATTR_SP_ANY = 0x400; // writes both register operands
export const ATTR_REXW = 0x800; // #UD without REX.W
export const ATTR_X87 = 0x1000; // U_IMM is the opcode as the x87 FPU keeps it: its low three bits, and ModRM

export enum Cc {
  Raw = 0, // CC_R holds the six flags as in rflags
  Add = 1,
  Adc = 2, // with a carry that came in
  Sub = 3,
  Sbb = 4, // with a borrow that came in
  Logic = 5,
  Inc = 6, // CC_B holds cf
  Dec = 7,
  Shift = 8, // CC_A holds cf, CC_B of; the rest from CC_R
}

export const CF = 1;
export const PF = 4;
export const AF = 0x10;
export const ZF = 0x40;
export const SF = 0x80;
// What INT_SHADOW holds back before the next instruction.
export const SHADOW_STI = 1; // maskable interrupts
export const SHADOW_SS = 2; // interrupts, NMIs, and debug exceptions as well
export const SHADOW_REP = 4; // nothing: a REP stands between two of its iterations
export const SHADOW_ALONE = 8; // nothing: the next instruction is to be executed alone
// Why a vCPU executes instruction by instruction.
export const CAREFUL_CODE = 1; // a breakpoint on execution is enabled
export const CAREFUL_DATA = 2; // one on data is
export const CAREFUL_IO = 4; // one on ports is
export const CAREFUL_STALE = 8; // executes what it has fetched until it serializes
export const CAREFUL_STORES = 16; // has a store buffer
export const CAREFUL_TLB = 64; // keeps translations until something invalidates them
export const CAREFUL_ALIGN = 128; // user accesses have to be aligned: CPL 3, CR0.AM, EFLAGS.AC
export const CAREFUL_RING = 256; // CPL 1 or 2, which have neither a TLB nor blocks of their own
export const CAREFUL_SPLIT = 32; // the store of an unlocked read-modify-write waits
// What an instruction was, where that decides about traps behind it.
export const LAST_SOFTWARE = 1; // a software interrupt that was delivered: no single step follows
export const LAST_IRET = 2; // loaded RF: it stays for the next instruction
export const LAST_SYSCALL = 4; // single steps by the TF that it left, not by the one it met
export const LAST_STEPPED = 8; // and it left TF set
export const LAST_SERIALIZED = 16; // and serialized, where its kind does not say so

export const TF = 0x100;
export const IF = 0x200;
export const DF = 0x400;
export const OF = 0x800;
export const IOPL = 0x3000;
export const NT = 0x4000;
export const RF = 0x10000;
export const AC = 0x40000;
export const ID = 0x200000;
export const ARITH = 0x8d5;

export enum Vector {
  DE = 0,
  DB = 1,
  NMI = 2,
  BP = 3,
  OF = 4,
  BR = 5,
  UD = 6,
  NM = 7,
  DF = 8,
  TS = 10,
  NP = 11,
  SS = 12,
  GP = 13,
  PF = 14,
  MF = 16,
  AC = 17,
  XM = 19,
  CP = 21,
}

// An access to a non-canonical address, on its way to being #GP(0) or, through the stack, #SS(0).
export const NONCANONICAL = 0x10000;

export enum Exit {
  None = 0,
  Halt = 1, // every further instruction waits for an interrupt
  Vmcall = 2,
  Shutdown = 3, // triple fault
  Stop = 4, // a stop watch was reached; nothing of that instruction was done
  LogFull = 5,
  Unsupported = 6, // a transfer to compatibility mode; nothing of that instruction was done
}

export enum Watch {
  Entry = 1, // log when the instruction at lo is about to execute
  Range = 2, // log when an instruction that overlaps [lo, hi) is about to execute
  Frame = 3, // the slot at register arg0 + arg1 holds a return address made by a store
  Stop = 4, // stop before the instruction at lo
  NewStack = 5, // as Frame, and the first frame of that stack: whatever was on it is gone
}

// Shadow of a slot: 16 bytes.
export const S_RET = 0; // u64
export const S_LINK = 8; // u32: slot number + 1 of the next higher live slot
export const S_KIND = 12; // u32: FrameKind
export enum FrameKind {
  Call = 0,
  Interrupt = 1, // a frame that the CPU pushed for an interrupt, trap or fault from CPL 0
  User = 2, // the same from CPL 3: the bottom of the kernel stack
  Stored = 3, // declared at a label
}
// What is known of a stack: 24 bytes.
export const STACK_META_SIZE = 24;
export const M_TOP = 0; // u32: STK_TOP while rsp is elsewhere
export const M_PARENT = 4; // u32: StackMeta of the stack that a per-CPU stack was entered from
export const M_LEFT_RIP = 8; // u64: the instruction after the one that left this stack
export const M_ASIDE = 16; // u32: STK_TOP of the frames below a delivery that began at the top of the same stack again

// A stack area: [start, end) holds stacks of equal size, aligned to it.
export const A_START = 0; // u64
export const A_END = 8; // u64
export const A_SIZE = 16; // u64
export const A_KIND = 24; // u32: 0 tasks, 1 per-CPU
export const A_SHADOW = 28; // u32: wasm address of the shadow of the area
export const A_META = 32; // u32: wasm address of its StackMeta

// A watch.
export const W_LO = 0; // u64
export const W_HI = 8; // u64
export const W_KIND = 16; // u32: Watch, 0 when the entry is free
export const W_ID = 20; // u32
export const W_REG = 24; // i32
export const W_OFF = 28; // i32

// A log record.
export const L_INSN = 0; // u64: instructions retired before it
export const L_RIP = 8; // u64
export const L_RSP = 16; // u64
export const L_VCPU = 24; // u16
export const L_CPL = 26; // u16
export const L_ID = 28; // u32: W_ID
export const L_TIME = 32; // u64: the vCPU's virtual time

// A local APIC.
export const P_IRR = 0; // 4 x u64
export const P_ISR = 32; // 4 x u64
export const P_TPR = 64; // u32
export const P_SVR = 68; // u32
export const P_LVT_TIMER = 72; // u32
export const P_INITIAL = 76; // u32
export const P_DIVIDE = 80; // u32
export const P_NMI = 84; // u32: pending
export const P_DEADLINE = 88; // u64: TIME at which the timer fires, all ones when it does not
export const P_ARMED = 96; // u64: TIME at which the count was started
export const P_TSC_DEADLINE = 104; // u64
export const P_ICR = 112; // u64
export const P_LVT_OTHER = 120; // u32 each: thermal, perf, lint0, lint1, error
export const P_SENT = 144; // u64: IPIs sent
export const P_ERRORS = 152; // u32: errors since ESR was written last
export const P_ESR = 156; // u32
export const P_LDR = 160; // u32: logical destination, xAPIC mode
export const P_DFR = 164; // u32: destination format, xAPIC mode
export const P_INIT = 168; // u32: an INIT is pending
export const P_SIPI = 172; // u32: start-up vector | 0x100
