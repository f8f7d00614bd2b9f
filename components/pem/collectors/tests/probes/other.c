// A function of the same name as one of the program's, which only this file sees.
static __attribute__((noinline, noclone)) int px_private(int a) {
    __asm__ volatile("" ::: "memory");
    return a + 1;
}

long px_other(int a) { return px_private(a); }

#ifdef LOOKS_LIKE_GO
__attribute__((section(".go.buildinfo"), used)) static const char info[] = "";
#endif
