// The reports' door: verdicts as text and as JSON. Pure: nothing here runs or writes anything.
export { toJson } from "./json.ts";
export { mismatchText, momentText, replayText, storyText } from "./story.ts";
export { strerror, sysfsText } from "./sysfs.ts";
export { dmesgText, tasksText } from "./tasks.ts";
export { traceLines } from "./trace.ts";
export { isAsClaimed, runTable, sweepText, type Claimed } from "./table.ts";
