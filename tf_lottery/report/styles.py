"""What all figures have in common: colours, markers, dashes, sizes."""

#: Colour (Okabe-Ito), marker and dashes of lines, in order: without colour
#: they are told apart too. The last one is pale on white.
STYLES = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#E69F00", "v", (0, (5, 1, 1, 1, 1, 1))),
    ("#56B4E9", "P", (0, (1, 1))),
    ("#000000", "X", (0, (8, 3))),
    ("#999999", "<", (0, (8, 2, 1, 2))),
    ("#F0E442", "*", (0, (3, 1, 1, 1))),
)
#: In points: of axes, and of ticks and legends.
FONT_SIZE, SMALL = 10, 9
