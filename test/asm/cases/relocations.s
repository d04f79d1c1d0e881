.text
.globl g
.weak w
g: ret
l: ret
w: ret
jmp l
jmp g
jmp w
jmp u
jne g
jne u
call l
call g
call w
call u
call fl
call fg
call l+4
call g+4
jmp o
call o
jmp fo
call fo
mov o(%rip),%rax
mov l(%rip),%rax
mov g(%rip),%rax
mov $o,%rax
mov $o,%eax
mov $l,%rax
movq $l,(%rax)
movl $l,(%rax)
movabs $l,%rax
mov l,%rax
mov %gs:l,%rax
mov %gs:l(%rip),%rax
mov l(,%rax,8),%rcx
push $l
pushq $l
add $l,%rax
add $l,%eax
add $l,%rbx
cmpb $l,%al
cmpw $l,%ax
cmpl $1,l(%rip)
cmpq $1,o+8(%rip)
.long l-.
.quad l-.
.long o-.
.long u-.
.long o
.quad l
.quad g
.long g-l
.long u-l
.byte o
.short o
.quad fo+4
call g@PLT
call l@PLT
call o@PLT
jmp fo@PLT
lea u-4(%rip),%rax
loop u
jrcxz u
.fg: 
fl: ret
.globl fg
fg: ret
.section .other,"ax"
nop
o: ret
nop
fo: ret
.set eq, u+4
.set eq2, o+1
.quad eq
.quad eq2
.globl neverused
.set abs1, 5
.globl ga
ga = 7
mov $ga,%eax
mov ga,%eax
.data
.quad .Lx
.Lx:
.section .ms,"aMS",@progbits,1
.Ls: .string "abc"
.text
lea .Ls(%rip),%rax
mov $.Ls,%eax
.type ft,@object
