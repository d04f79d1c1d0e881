# One statement a line; each is assembled in a section of its own and compared with GNU as.
mov %rax,%rbx
mov %eax,%ebx
mov %al,%ah
mov %ax,%r8w
mov %r8b,%spl
movb $1,%spl
mov $1,%r8d
mov $-1,%rax
mov $0xffffffff,%rax
mov $0xffffffffffffffff,%rax
mov $0x7fffffff,%rax
mov $0x80000000,%rax
mov $0xffffffff80000000,%rax
movq $-1,%rax
movq $0x123456789abcdef0,%r15
movabs $1,%rax
movabsq $1,%r9
movabs 0x1122334455667788,%rax
movabs %al,0x1122334455667788
movabs %eax,0x1122334455667788
movl $-1,%eax
movl $0xffffffff,(%rax)
movq $-1,8(%rax)
movw $-1,(%rax)
movb $-1,(%rax)
mov %ds,%eax
mov %ds,%ax
mov %ds,%rax
mov %eax,%ds
mov %ax,%ds
mov %rax,%ds
movw %ax,%ss
movl %eax,%es
mov %ds,(%rax)
movw %ds,(%rax)
mov (%rax),%fs
movw (%rax),%gs
mov %cr3,%rax
mov %rax,%cr3
mov %cr8,%r9
mov %rax,%cr4
mov %dr7,%rax
mov %rax,%db6
movzbl (%rax),%eax
movzbl %al,%eax
movzbq %al,%rax
movzwl %ax,%eax
movzwq (%rsi),%r9
movzb %al,%eax
movzx %al,%eax
movzx %ax,%rax
movsx %al,%eax
movsbl %sil,%eax
movsbq (%rdi),%rax
movslq %eax,%rbx
movslq (%rax),%rbx
movsxd %eax,%rbx
movswq (%rax),%rbx
movsbw %al,%ax
movzbw %al,%ax
add $1,%al
add $1,%eax
add $0x80,%eax
add $0x80,%al
add $-128,%rsp
add $128,%rsp
sub $128,%rsp
and $-16,%rsp
and $0xfffffff0,%eax
and $0xffffffff,%eax
and $0xff,%eax
and $0xff,%al
cmp $0xffffffff,%eax
cmpl $0xffffffff,(%rax)
cmpw $0xffff,(%rax)
cmpb $0xff,(%rax)
cmpq $-1,(%rax)
or $0x1000,%eax
or $0x1000,%ax
or $0x1000,%rbx
xor %eax,%eax
xor %r8,%r8
sub (%rax),%rbx
sub %rbx,(%rax)
test %eax,%ebx
test %rax,(%rbx)
test (%rbx),%rax
test $1,%al
test $1,%eax
test $0x12345678,%rax
testb $1,(%rax)
testl $0x200,8(%rsp)
testq $-1,(%rax)
test $1,%cl
test $0x80,%cl
xchg %rax,%rbx
xchg %rbx,%rax
xchg %rbx,%rcx
xchg %ebx,%ecx
xchg %al,%bl
xchg %rax,(%rbx)
xchg (%rbx),%rax
xchg %eax,%eax
xchg %ax,%ax
xchg %rax,%rax
xchg %r8,%rax
xchg %eax,%r8d
nop
nopl (%rax)
nopl 0(%rax,%rax,1)
nopw 0(%rax,%rax,1)
nopl 0x12345678(%rax)
nopw %ax
nopl %eax
nopq (%rax)
nopl %gs:8
inc %eax
incq (%rax)
incl %gs:0x10
decl %gs:pcpu
dec %r8b
neg %rax
not %rax
notb (%rax)
mul %rcx
imul %rcx
imul %rax,%rbx
imul (%rax),%ebx
imul $5,%rax,%rbx
imul $5,%rax
imul $500,%eax
imul $500,(%rax),%eax
idiv %rcx
divl (%rax)
shl %rax
shl $1,%rax
shl $5,%rax
shl %cl,%rax
sar $63,%rax
shrl $3,(%rax)
salq $3,%rax
rol $8,%ax
ror %cl,%eax
rcl %rax
shld $3,%rax,%rbx
shrd %cl,%rax,%rbx
push %rax
push %r12
pushq %rax
pushq $8
push $128
push $-1
pushq $0x12345678
push (%rax)
pushq 8(%rax)
push %fs
push %gs
pop %rax
popq 8(%rax)
pop %gs
pushw $5
pushf
pushfq
popf
popfq
lea 8(%rax,%rbx,4),%rcx
lea (,%rax,8),%rcx
lea (,%rax,1),%rcx
lea (%rax,%rbx),%ecx
lea 0x80(%rax),%rcx
lea -0x80(%rax),%rcx
lea 0x7f(%rbp),%rcx
lea (%rbp),%rcx
lea (%r13),%rcx
lea (%rsp),%rcx
lea (%r12),%rcx
lea (%rbp,%rax),%rcx
lea 0(%rax),%rcx
lea 0(%rip),%rcx
lea -0x10(%rip),%rcx
lea (%rip),%rcx
lea 0x10,%rcx
lea (%eax),%ecx
lea 8(%r8d,%r9d,2),%r10
call *%rax
call *8(%rax)
call *%r11
jmp *%rax
jmp *(%rax,%rbx,8)
jmpq *%rdx
callq *(%rdx)
jmp *tbl(,%rax,8)
call *tbl(%rip)
notrack jmp *%rax
ljmp *(%rax)
ljmpl *(%rax)
lcall *(%rax)
ret
retq
ret $8
lret
lretq
iret
iretq
iretl
sysret
sysretq
sysretl
syscall
sysenter
sysexit
swapgs
wrmsr
rdmsr
rdpmc
rdtsc
rdtscp
cpuid
hlt
cli
sti
cld
std
clc
stc
cmc
clts
invlpg (%rax)
invlpg 8(%rax,%rbx)
invd
wbinvd
lgdt (%rax)
lidt gdt(%rip)
sgdt (%rax)
sidt (%rax)
lldt %ax
sldt %ax
sldt %eax
ltr %ax
str %ax
str %eax
smsw %ax
lmsw %ax
lar %eax,%ebx
lsl %eax,%ebx
verr %ax
verw %ax
verw (%rax)
vmcall
vmmcall
ud2
ud1 %eax,%ebx
ud1 (%rax),%ebx
int3
int $3
int $0x80
int1
endbr64
endbr32
serialize
pause
mfence
lfence
sfence
clac
stac
monitor
mwait
rdpid %rax
rdrand %rax
rdseed %eax
rdfsbase %rax
wrgsbase %rax
wrfsbase %r8
xgetbv
xsetbv
bswap %eax
bswap %r9
cmpxchg %rbx,(%rax)
lock cmpxchg %rbx,(%rax)
lock cmpxchgl %ebx,%gs:8(%rax)
cmpxchg8b (%rax)
lock cmpxchg16b (%rdi)
xadd %rax,(%rbx)
lock xaddl %eax,(%rbx)
lock addl $1,%gs:8
lock incl (%rax)
lock; incl (%rax)
lock btsq $5,(%rax)
bt $5,%rax
bts %rax,(%rbx)
btsl $31,(%rax)
btr %eax,%ebx
btcq $63,(%rax)
bsf %rax,%rbx
bsr (%rax),%rbx
popcnt %rax,%rbx
popcnt %ax,%bx
tzcnt %eax,%ebx
lzcnt %rax,%rbx
cmove %rax,%rbx
cmovneq (%rax),%rbx
cmovzl %eax,%ebx
cmovb (%rax),%ecx
sete %al
setne (%rax)
setb %r8b
setz %sil
setnbe %bpl
cltq
cltd
cqto
cwtl
cbtw
cwtd
rep movsb
rep movsq
rep movsl
rep movsw
rep stosq
rep stosb
rep stosl
rep; stosw
repe cmpsb
repne scasb
repnz scasb
movsb
movsw
movsl
movsq
stosb
stosl
lodsb
lodsq
lodsl
scasq
cmpsl
insb
outsl
rep insw
in %dx,%al
in (%dx),%eax
in $0x60,%al
inb $0x60,%al
inb %dx,%al
inl %dx,%eax
out %al,$0x80
outb %al,$0x80
out %al,%dx
outl %eax,%dx
out %ax,(%dx)
loop .
jrcxz .
loopne .
leave
leaveq
enter $8,$0
enter $0x1234,$1
sahf
lahf
xlat
xlatb
mov %gs:0x28,%rax
movq %gs:0x28,%rax
mov %rax,%gs:0x28
mov %gs:(%rax),%rbx
mov %gs:8(,%rax,8),%rbx
movl $5,%gs:0x10
movq $sym,%gs:0x10
cmpl $0,%gs:pcpu
mov %gs:pcpu(%rip),%rax
addq $8,%gs:pcpu(%rip)
mov %fs:0,%rax
mov %ds:(%rax),%rax
mov %ss:(%rax),%rax
mov %ds:(%rbp),%rax
mov %ss:(%rsp),%rax
mov %es:(%rdi),%rax
mov %cs:(%rax),%rax
cs
data16
rep
lock
gs
addr32 nop
data16 nop
rex64 sysret
data16 lea (%rax),%rax
rep ret
repz ret
lea sym(%rip),%rdi
mov $sym,%rdi
mov sym(%rax),%rbx
mov sym+8(,%rax,4),%ebx
movb $sym,(%rax)
movl $sym,8(%rsp)
cmpq $sym,8(%rsp)
cmp $sym,%eax
cmp $sym,%rax
imul $sym,%rax,%rbx
push sym
pushq sym(%rip)
test $sym,%eax
and $~0xfff,%rdi
mov $(1<<31)|5,%eax
mov $(1<<63),%rax
mov $'a',%al
mov $'\n',%al
movb $1<<7,(%rax)
mov $-(8*3),%ecx
lea -(8*3)(%rsp),%rsp
lea 8*3(%rsp),%rsp
mov 4+4(%rsp),%rax
lea sym-8(%rip),%rax
lea sym+8-4(%rip),%rax
1: crc32b %al,%ebx
crc32q %rax,%rbx
movbe (%rax),%ebx
clflush (%rax)
clflushopt (%rax)
prefetcht0 (%rax)
prefetchw (%rax)
prefetchnta (%rax)
fxsave (%rax)
fxrstor (%rax)
xsave (%rax)
xsaveopt64 (%rax)
invpcid (%rax),%rbx
fninit
ldmxcsr (%rax)
sysexitl
sysexitq
