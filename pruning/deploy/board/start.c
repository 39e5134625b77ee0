/* Start-up code of a core without a board around it: memory is made ready, then the network runs
 * again and again. Whoever watches stops at `ready`, fills the input and lets it go on.
 */
#include <stdint.h>

#include "model.h"

extern uint32_t stack_top[], data_stored[], data_start[], data_end[], bss_start[], bss_end[];

void ready(void);
void reset(void);

const void *const vectors[] __attribute__((section(".vectors"), used)) = {stack_top,
                                                                          (const void *)reset};

__attribute__((noinline)) void ready(void)
{
    __asm__ volatile("nop");
}

void reset(void)
{
    const volatile uint32_t *from = data_stored;
    for (volatile uint32_t *to = data_start; to < data_end;)
        *to++ = *from++;
    for (volatile uint32_t *to = bss_start; to < bss_end;)
        *to++ = 0;
    for (;;) {
        ready();
        model_run();
    }
}
