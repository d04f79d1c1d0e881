// The micro-ops that no table row makes: they stand between decoded records. The numbers of all others are dealt out
// by src/isa from FIRST_ROW_UOP on.

export const UOP_STALE: u16 = 0; // the bytes of this block were written: look up again
export const UOP_FAULTY: u16 = 1; // raises U_IMM: an encoding that the table does not list, or a privilege
export const UOP_GO_ON: u16 = 2; // the end of a block that no branch ended
export const UOP_MOVED: u16 = 3; // rsp got a new value: tell the shadow
export const UOP_WATCH: u16 = 4; // a watch is on the instruction that follows; U_IMM is its address
