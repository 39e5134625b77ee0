/* Runs the network on codes from a file, as many samples as there are: main < codes > results */
#include <stdio.h>

#include "model.h"

static const unsigned bytes[MODEL_OUTPUTS] = MODEL_OUTPUT_BYTES;

int main(void)
{
    while (fread(model_input(), 1, MODEL_INPUT_BYTES, stdin) == MODEL_INPUT_BYTES) {
        model_run();
        for (int i = 0; i < MODEL_OUTPUTS; i++)
            fwrite(model_output(i), 1, bytes[i], stdout);
    }
    return 0;
}
