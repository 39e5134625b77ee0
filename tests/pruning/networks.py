"""Small networks of every construction that people bring, with odd sizes.

`NETWORKS` maps a name to a builder and the shape of one input. Tests and benchmarks share it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


def block(inputs, outputs, kernel=3, activation=nn.ReLU, **settings):
    """Convolution, batch norm, activation; the size stays."""
    settings = {"padding": kernel // 2, "bias": False, **settings}
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, **settings), nn.BatchNorm2d(outputs), activation()
    )


class Net(nn.Module):
    """A network written as its layers and a function of them and the input."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            if isinstance(layer, nn.Parameter):
                self.register_parameter(name, layer)
            elif isinstance(layer, Tensor):
                self.register_buffer(name, layer)
            else:
                self.add_module(name, layer)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


def residual():
    def forward(n, x):
        x = n.stem(x)
        x = functional.relu(x + n.inner(x))
        return n.head(functional.relu(n.wide(x) + n.short(x)).mean((2, 3)))

    return Net(
        forward,
        stem=block(3, 6),
        inner=nn.Sequential(block(6, 5), block(5, 6, activation=nn.Identity)),
        wide=nn.Sequential(block(6, 9, stride=2), block(9, 11, activation=nn.Identity)),
        short=block(6, 11, 1, nn.Identity, stride=2),
        head=nn.Linear(11, 4),
    )


def padded_shortcut():
    """The shortcut skips pixels and adds channels of zeros instead of convolving."""

    def forward(n, x):
        x = n.stem(x)
        short = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 3))
        return n.head(functional.relu(n.wide(x) + short).mean((2, 3)))

    return Net(
        forward,
        stem=block(3, 5),
        wide=nn.Sequential(block(5, 7, stride=2), block(7, 10, activation=nn.Identity)),
        head=nn.Linear(10, 3),
    )


def pre_activation():
    def forward(n, x):
        x = n.stem(x)
        y = functional.relu(n.norm1(x))
        y = functional.relu(n.norm2(n.conv1(y)))
        x = n.short(x) + n.conv2(y)
        return n.head(functional.relu(n.last(x)).mean((2, 3)))

    return Net(
        forward,
        stem=nn.Conv2d(2, 7, 3, bias=False),
        norm1=nn.BatchNorm2d(7),
        conv1=nn.Conv2d(7, 5, 3, padding=1, bias=False),
        norm2=nn.BatchNorm2d(5),
        conv2=nn.Conv2d(5, 9, 3, padding=1, bias=False),
        short=nn.Conv2d(7, 9, 1),
        last=nn.BatchNorm2d(9),
        head=nn.Linear(9, 3),
    )


def dense_blocks():
    """Every layer reads all before it; a transition halves channels and size."""

    def forward(n, x):
        x = n.stem(x)
        for layer in n.first:
            x = torch.cat([x, layer(x)], 1)
        x = functional.avg_pool2d(n.between(x), 2)
        for layer in n.second:
            x = torch.cat([layer(x), x], 1)
        return n.head(functional.relu(n.last(x)).mean((2, 3)))

    def layer(inputs):
        return nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, 3, 3, padding=1, bias=False)
        )

    return Net(
        forward,
        stem=nn.Conv2d(3, 4, 3, padding=1, bias=False),
        first=nn.ModuleList(layer(4 + 3 * i) for i in range(3)),
        between=nn.Sequential(nn.BatchNorm2d(13), nn.ReLU(), nn.Conv2d(13, 6, 1, bias=False)),
        second=nn.ModuleList(layer(6 + 3 * i) for i in range(2)),
        last=nn.BatchNorm2d(12),
        head=nn.Linear(12, 3),
    )


def separable():
    return nn.Sequential(
        block(1, 6, stride=2),
        block(6, 6, 3, groups=6),
        block(6, 9, 1),
        block(9, 9, 5, groups=9, stride=2),
        block(9, 7, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(7, 5),
    )


def inverted():
    """MobileNet-v3: hard swish, a squeeze-and-excite gate in an inverted residual."""

    def forward(n, x):
        x = n.stem(x)
        y = n.expand(x)
        y = y * n.gate(y)
        x = x + n.project(functional.hardswish(y))
        return n.head(functional.hardswish(n.mix(x)).flatten(1))

    return Net(
        forward,
        stem=block(3, 5, activation=nn.Hardswish, stride=2),
        expand=nn.Sequential(block(5, 13, 1, nn.Hardswish), block(13, 13, 5, groups=13)),
        gate=nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(13, 4, 1),
            nn.ReLU(),
            nn.Conv2d(4, 13, 1),
            nn.Hardsigmoid(),
        ),
        project=block(13, 5, 1, nn.Identity),
        mix=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(5, 11, 1)),
        head=nn.Linear(11, 4),
    )


def grouped():
    """ResNeXt: a grouped convolution between two pointwise ones."""

    def forward(n, x):
        x = n.stem(x)
        return n.head(functional.relu(x + n.body(x)).amax((2, 3)))

    return Net(
        forward,
        stem=block(3, 7),
        body=nn.Sequential(block(7, 12, 1), block(12, 9, 3, groups=3), block(9, 7, 1, nn.Identity)),
        head=nn.Linear(7, 3),
    )


def excite():
    """The gate is made by linear layers and reshaped."""

    def forward(n, x):
        x = n.stem(x)
        gate = n.gate(x.mean((2, 3)))
        x = x * gate.view(x.shape[0], -1, 1, 1)
        return n.head(x.flatten(1))

    return Net(
        forward,
        stem=nn.Sequential(block(3, 9, stride=2), block(9, 9, stride=2)),
        gate=nn.Sequential(nn.Linear(9, 2), nn.ReLU(), nn.Linear(2, 9), nn.Sigmoid()),
        head=nn.Linear(81, 3),
    )


def shuffle():
    """ShuffleNet: grouped pointwise convolutions, channels shuffled by reshapes."""

    def forward(n, x):
        x = n.stem(x)
        y = n.into(x)
        batch, channels, height, width = y.shape
        y = y.view(batch, 3, channels // 3, height, width).transpose(1, 2).contiguous()
        y = n.depth(y.view(batch, -1, height, width))
        return n.head(functional.relu(x + n.out(y)).mean((2, 3)))

    return Net(
        forward,
        stem=block(3, 12),
        into=block(12, 6, 1, groups=3),
        depth=block(6, 6, 3, nn.Identity, groups=6),
        out=block(6, 12, 1, nn.Identity, groups=3),
        head=nn.Linear(12, 4),
    )


def split_shuffle():
    """ShuffleNet-v2: half of the channels pass by, then all are shuffled."""

    def forward(n, x):
        x = n.stem(x)
        for branch in n.branches:
            left, right = x.chunk(2, 1)
            x = functional.channel_shuffle(torch.cat([left, branch(right)], 1), 2)
        return n.head(x.mean((2, 3)))

    def branch():
        return nn.Sequential(block(6, 6, 1), block(6, 6, 3, nn.Identity, groups=6), block(6, 6, 1))

    return Net(
        forward,
        stem=block(2, 12, stride=2),
        branches=nn.ModuleList([branch(), branch()]),
        head=nn.Linear(12, 3),
    )


def partial_stages():
    """CSP: a part of the channels runs through a block and meets the rest again."""

    def forward(n, x):
        x = n.stem(x)
        second = n.inner[0][0].in_channels
        first, second = torch.split(x, [x.shape[1] - second, second], 1)
        second = second + n.inner(second)
        return n.head(n.mix(torch.cat([second, first], 1)).mean((2, 3)))

    return Net(
        forward,
        stem=block(3, 11, activation=nn.SiLU),
        inner=nn.Sequential(block(7, 5, 1, nn.SiLU), block(5, 7, 3, nn.SiLU)),
        mix=block(11, 6, 1, nn.SiLU),
        head=nn.Linear(6, 3),
    )


def autoencoder():
    """Strided convolutions down, transposed ones up again."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(6, 9, 3, stride=2, padding=1), nn.BatchNorm2d(9), nn.ReLU(),
        nn.ConvTranspose2d(9, 5, 3, stride=2, padding=1, output_padding=1, bias=False),
        nn.BatchNorm2d(5), nn.ReLU(),
        nn.ConvTranspose2d(5, 4, 2, stride=2), nn.ReLU(),
        nn.Conv2d(4, 1, 3, padding=1), nn.Sigmoid(),
    )  # fmt: skip


def decoder():
    """A vector becomes a map, and grows by transposed convolutions, one of them grouped."""

    def forward(n, x):
        x = functional.relu(n.hidden(x)).view(-1, n.first.in_channels, 3, 4)
        return n.out(functional.relu(n.grouped(functional.relu(n.first(x)))))

    return Net(
        forward,
        hidden=nn.Linear(10, 72),
        first=nn.ConvTranspose2d(6, 8, 4, stride=2, padding=1),
        grouped=nn.ConvTranspose2d(8, 6, 3, stride=2, groups=2),
        out=nn.Conv2d(6, 2, 1),
    )


def transposed_depthwise():
    """Learned upsampling channel by channel, twice as many channels out as in."""
    return nn.Sequential(
        block(2, 5, stride=2),
        nn.ConvTranspose2d(5, 10, 4, stride=2, padding=1, groups=5, bias=False),
        nn.BatchNorm2d(10),
        nn.ReLU6(),
        nn.Conv2d(10, 3, 1),
    )


def unet():
    """Skips are concatenated after nearest-neighbour upsampling."""

    def forward(n, x):
        a = n.a(x)
        b = n.b(functional.max_pool2d(a, 2))
        c = n.c(functional.max_pool2d(b, 2))
        y = n.d(torch.cat([functional.interpolate(c, scale_factor=2), b], 1))
        return n.out(n.e(torch.cat([functional.interpolate(y, scale_factor=2), a], 1)))

    return Net(
        forward,
        a=block(1, 4), b=block(4, 7), c=block(7, 9), d=block(16, 6), e=block(10, 5),
        out=nn.Conv2d(5, 2, 1),
    )  # fmt: skip


def bilinear_unet():
    """Odd sizes: what was upsampled is padded to meet the skip, and the skip is cropped."""

    def forward(n, x):
        a = n.a(x)
        b = n.b(functional.max_pool2d(a, 2))
        up = functional.interpolate(b, scale_factor=2, mode="bilinear", align_corners=True)
        up = functional.pad(up, (0, 1, 0, 1))
        y = n.c(torch.cat([a, up], 1))
        return n.out(y[:, :, 1:-1, 2:]) + x[:, :, 1:-1, 2:]

    return Net(
        forward,
        a=block(1, 5, activation=nn.ELU),
        b=block(5, 6),
        c=block(11, 4),
        out=nn.Conv2d(4, 1, 3, padding=1),
    )


def transposed_unet():
    """Upsampling by transposed convolutions, the skip added."""

    def forward(n, x):
        a = n.a(x)
        b = n.b(a)
        return n.out(functional.relu(n.up(b) + a))

    return Net(
        forward,
        a=block(3, 6),
        b=block(6, 8, stride=2),
        up=nn.Sequential(nn.ConvTranspose2d(8, 6, 2, 2, bias=False), nn.BatchNorm2d(6)),
        out=nn.Conv2d(6, 2, 1),
    )


def temporal():
    """Dilated causal convolutions over time: padded on the left, or cropped on the right."""

    def forward(n, x):
        x = functional.relu(n.first(functional.pad(x, (2, 0))))
        y = functional.relu(n.norm(n.second(x)[:, :, :-4]))
        return n.head((x + y)[:, :, -1])

    return Net(
        forward,
        first=nn.Conv1d(3, 8, 3),
        second=nn.Conv1d(8, 8, 3, padding=4, dilation=2),
        norm=nn.BatchNorm1d(8),
        head=nn.Linear(8, 4),
    )


def waves():
    """A residual network over time, with strided and depthwise convolutions."""

    def forward(n, x):
        x = n.stem(x)
        x = functional.gelu(n.inner(x) + n.short(x))
        return n.head(functional.adaptive_max_pool1d(x, 1).squeeze(-1))

    return Net(
        forward,
        stem=nn.Sequential(
            nn.Conv1d(2, 6, 7, stride=2), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2)
        ),
        inner=nn.Sequential(
            nn.Conv1d(6, 6, 3, padding=1, groups=6), nn.BatchNorm1d(6), nn.ReLU(),
            nn.Conv1d(6, 10, 1, stride=2), nn.BatchNorm1d(10),
        ),
        short=nn.Conv1d(6, 10, 1, stride=2),
        head=nn.Linear(10, 3),
    )  # fmt: skip


def time_major():
    """The input is (time, features); a convolution wants it the other way round."""

    def forward(n, x):
        x = functional.relu(n.conv(x.permute(0, 2, 1)))
        return n.head(functional.avg_pool1d(x, 2).transpose(1, 2).flatten(1))

    return Net(forward, conv=nn.Conv1d(5, 7, 3), head=nn.Linear(7 * 4, 3))


def channels_last():
    """The input is (height, width, channels), and so are the flattened features."""

    def forward(n, x):
        x = n.second(n.first(x.permute(0, 3, 1, 2)))
        return n.head(x.permute(0, 2, 3, 1).reshape(x.shape[0], -1))

    return Net(
        forward,
        first=block(3, 6, stride=2),
        second=block(6, 5, stride=2),
        head=nn.Linear(30, 4),
    )


def dense_autoencoder():
    """The anomaly detector of MLPerf Tiny, smaller."""

    def layer(inputs, outputs):
        return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU())

    return nn.Sequential(
        layer(20, 12), layer(12, 3), layer(3, 12), nn.Linear(12, 20),
    )  # fmt: skip


def dense_skip():
    def forward(n, x):
        x = functional.relu(n.a(x))
        return n.c(x + functional.relu(n.b(x)))

    return Net(forward, a=nn.Linear(13, 9), b=nn.Linear(9, 9), c=nn.Linear(9, 3))


def wide_and_deep():
    def forward(n, x):
        x = x.reshape(x.shape[0], -1)
        return torch.sigmoid(n.out(torch.cat([n.wide(x), n.deep(x)], dim=-1)))

    return Net(
        forward,
        deep=nn.Sequential(
            nn.Linear(12, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.2), nn.Linear(9, 2)
        ),
        wide=nn.Linear(12, 3),
        out=nn.Linear(5, 1),
    )


def plain():
    """Biases, no batch norm, an activation of another kind behind every layer."""
    return nn.Sequential(
        nn.Conv2d(1, 5, 3, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(5, 6, 3, stride=2), nn.Softplus(),
        nn.Conv2d(6, 7, 1), nn.Mish(),
        nn.Conv2d(7, 6, 3, padding=1), nn.SELU(),
        nn.Conv2d(6, 5, 1), nn.CELU(0.7),
        nn.Conv2d(5, 6, 1), nn.Hardtanh(-0.5, 0.7),
        nn.Conv2d(6, 5, 1), nn.LogSigmoid(),
        nn.Flatten(), nn.Linear(5 * 9, 7), nn.Tanhshrink(),
        nn.Linear(7, 4), nn.LogSoftmax(1),
    )  # fmt: skip


def slopes():
    """PReLU with one slope, with one a channel, and with one shared by two layers."""

    def forward(n, x):
        x = n.each(n.first(x))
        x = n.one(n.second(x))
        return n.head(n.each(n.third(x)).mean((2, 3)))

    return Net(
        forward,
        first=nn.Conv2d(2, 6, 3), second=nn.Conv2d(6, 5, 3), third=nn.Conv2d(5, 6, 1),
        each=nn.PReLU(6), one=nn.PReLU(), head=nn.Linear(6, 3),
    )  # fmt: skip


def heads():
    """A class and a box, from features of two scales."""

    def forward(n, x):
        x = n.stem(x)
        small = n.down(x)
        return {
            "class": n.label(small.mean((2, 3))),
            "box": n.box(x).flatten(2),
            "score": torch.sigmoid(n.score(small)),
        }

    return Net(
        forward,
        stem=block(3, 7, stride=2),
        down=block(7, 9, stride=2),
        label=nn.Linear(9, 4),
        box=nn.Conv2d(7, 4, 1),
        score=nn.Conv2d(9, 1, 1),
    )


def shared():
    """One head reads two scales; one convolution runs twice."""

    def forward(n, x):
        x = n.stem(x)
        x = n.twice(n.twice(x))
        low = functional.max_pool2d(x, 2)
        return n.head(x).mean((2, 3)) + n.head(low).mean((2, 3))

    return Net(
        forward,
        stem=block(3, 8),
        twice=block(8, 8),
        head=nn.Sequential(block(8, 5, 1), nn.Conv2d(5, 3, 1)),
    )


def constants():
    """The input is normalised inside; numbers, buffers and parameters meet values."""

    def forward(n, x):
        x = (x / 255 - n.mean) / n.deviation
        x = functional.relu(n.a(x)) * 0.5 + 1
        x = n.b(1 - x) + n.gamma.view(1, -1, 1, 1)
        return n.head((n.gamma[:, None, None] * x - n.place).abs().mean((2, 3)))

    return Net(
        forward,
        mean=torch.rand(1, 3, 1, 1), deviation=torch.rand(1, 3, 1, 1) + 0.5,
        gamma=nn.Parameter(torch.rand(6) + 0.1), place=nn.Parameter(torch.rand(5, 7)),
        a=nn.Conv2d(3, 7, 3), b=nn.Conv2d(7, 6, 1), head=nn.Linear(6, 3),
    )  # fmt: skip


def layer_scale():
    """ConvNeXt-like: a large depthwise kernel, one norm over all, a scaled branch."""

    def forward(n, x):
        x = n.stem(x)
        x = x + n.gamma * n.body(x)
        return n.head(n.norm(x.mean((2, 3))))

    return Net(
        forward,
        stem=nn.Conv2d(3, 8, 2, stride=2),
        body=nn.Sequential(
            nn.Conv2d(8, 8, 5, padding=2, groups=8), nn.GroupNorm(1, 8),
            nn.Conv2d(8, 13, 1), nn.GELU(), nn.Conv2d(13, 8, 1),
        ),
        gamma=nn.Parameter(torch.rand(8, 1, 1)),
        norm=nn.LayerNorm(8),
        head=nn.Linear(8, 3),
    )  # fmt: skip


def next_blocks():
    """ConvNeXt as it is written: channels last for its norms and pointwise linear layers."""

    def forward(n, x):
        x = n.stem(x)
        y = n.depth(x).permute(0, 2, 3, 1)
        y = n.gamma * n.narrow(functional.gelu(n.widen(n.norm(y))))
        x = x + y.permute(0, 3, 1, 2)
        return n.head(n.last(x.mean((-2, -1))))

    return Net(
        forward,
        stem=nn.Conv2d(3, 6, 2, stride=2), depth=nn.Conv2d(6, 6, 3, padding=1, groups=6),
        norm=nn.LayerNorm(6), widen=nn.Linear(6, 13), narrow=nn.Linear(13, 6),
        gamma=nn.Parameter(torch.rand(6)), last=nn.LayerNorm(6), head=nn.Linear(6, 3),
    )  # fmt: skip


def rows():
    """Linear layers over the features of every moment."""

    def forward(n, x):
        x = functional.relu(n.more(functional.relu(n.features(x))))
        return n.head(x.transpose(1, 2).mean(2))

    return Net(forward, features=nn.Linear(5, 8), more=nn.Linear(8, 9), head=nn.Linear(9, 3))


def spatial_attention():
    """CBAM: mean and maximum over the channels say which places matter."""

    def forward(n, x):
        x = n.stem(x)
        both = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        y = n.body(x * torch.sigmoid(n.where(both)))
        y = y * torch.sigmoid(n.place(y.mean(dim=1, keepdim=True)))
        return n.head(y.sum((2, 3)))

    return Net(
        forward,
        stem=block(3, 6), where=nn.Conv2d(2, 1, 3, padding=1), body=block(6, 8),
        place=nn.Conv2d(1, 1, 3, padding=1), head=nn.Linear(8, 3),
    )  # fmt: skip


def normalised():
    """Features are brought to length one, then scaled and shifted by own parameters."""

    def forward(n, x):
        x = functional.relu(n.first(x)) + 0.1
        x = x / x.square().sum(dim=1, keepdim=True).sqrt()
        return n.last(functional.relu(n.middle(x * n.gamma + n.beta)))

    return Net(
        forward,
        first=nn.Linear(9, 11), middle=nn.Linear(11, 7), last=nn.Linear(7, 3),
        gamma=nn.Parameter(torch.rand(11)), beta=nn.Parameter(torch.rand(11)),
    )  # fmt: skip


def group_norms():
    """Groups of channels are normalised together, so they stay or go together."""
    return nn.Sequential(
        nn.Conv2d(2, 12, 3), nn.GroupNorm(4, 12), nn.ReLU(),
        nn.Conv2d(12, 6, 3), nn.InstanceNorm2d(6, affine=True), nn.SiLU(),
        nn.Conv2d(6, 5, 1), nn.InstanceNorm2d(5), nn.Flatten(), nn.Linear(5 * 12, 3),
    )  # fmt: skip


def inception():
    def forward(n, x):
        x = n.stem(x)
        pooled = functional.avg_pool2d(x, 3, 1, 1)
        x = torch.cat([n.one(x), n.three(x), n.pool(pooled), functional.max_pool2d(x, 3, 1, 1)], 1)
        return n.head(x.mean((2, 3)))

    return Net(
        forward,
        stem=block(3, 5, stride=2),
        one=block(5, 3, 1),
        three=nn.Sequential(block(5, 4, 1), block(4, 6)),
        pool=block(5, 2, 1),
        head=nn.Linear(16, 4),
    )


def fire():
    """SqueezeNet: biases, no batch norm, a convolution as the classifier."""

    def forward(n, x):
        x = functional.relu(n.squeeze(functional.relu(n.stem(x))))
        x = torch.cat([functional.relu(n.one(x)), functional.relu(n.three(x))], 1)
        return functional.relu(n.last(x)).mean((2, 3))

    return Net(
        forward,
        stem=nn.Conv2d(3, 8, 3, stride=2),
        squeeze=nn.Conv2d(8, 3, 1),
        one=nn.Conv2d(3, 5, 1),
        three=nn.Conv2d(3, 6, 3, padding=1),
        last=nn.Conv2d(11, 4, 1),
    )


def ghost():
    """Half of the channels are cheap filters of the other half; one too many is cut off."""

    def forward(n, x):
        x = n.primary(x)
        x = torch.cat([x, n.cheap(x)], 1)[:, :9]
        return n.head(x.mean((2, 3)))

    return Net(forward, primary=block(3, 5), cheap=block(5, 5, 3, groups=5), head=nn.Linear(9, 3))


def super_resolution():
    """The picture is built from channels at the end."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.Conv2d(6, 16, 3, padding=1), nn.ReLU(),
        nn.PixelShuffle(2), nn.Conv2d(4, 3, 3, padding=1), nn.ReLU(),
        nn.Conv2d(3, 4, 3, padding=1), nn.PixelShuffle(2),
    )  # fmt: skip


def space_to_depth():
    """Pixels become channels, in the input and within."""
    return nn.Sequential(
        nn.PixelUnshuffle(2), block(12, 5), nn.PixelUnshuffle(3), nn.Conv2d(45, 6, 1),
        nn.ReLU(), nn.Flatten(), nn.Linear(12, 4),
    )  # fmt: skip


def maxout():
    """The larger of two halves, and of two branches."""

    def forward(n, x):
        a, b = n.first(x).chunk(2, 1)
        x = torch.maximum(a, b)
        return n.head(torch.min(n.left(x), n.right(x)).amax((2, 3)))

    return Net(
        forward,
        first=nn.Conv2d(2, 10, 3),
        left=block(5, 6),
        right=block(5, 6, 1),
        head=nn.Linear(6, 3),
    )


def gates():
    """A gated convolution, and a highway: g x + (1 - g) y."""

    def forward(n, x):
        a, b = n.first(x).chunk(2, 1)
        x = a * torch.sigmoid(b)
        gate = torch.sigmoid(n.gate(x))
        x = gate * functional.relu(n.new(x)) + (1 - gate) * x
        return n.head(x.mean(2))

    return Net(
        forward,
        first=nn.Conv1d(3, 14, 3),
        gate=nn.Conv1d(7, 7, 1),
        new=nn.Conv1d(7, 7, 3, padding=1),
        head=nn.Linear(7, 3),
    )


def mirrored():
    """Reflected and repeated borders around depthwise blurs; flips and rolls."""
    return nn.Sequential(
        nn.ReflectionPad2d(1), nn.Conv2d(1, 6, 3), nn.ReLU(),
        nn.ReplicationPad2d((1, 2, 0, 1)), nn.Conv2d(6, 6, 3, stride=2, groups=6, bias=False),
        Net(lambda _, x: x + x.flip(3).roll(1, 1)), nn.ConstantPad2d(1, 0.5),
        nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(60, 3),
    )  # fmt: skip


def octaves():
    """Two resolutions that exchange what they know."""

    def forward(n, x):
        high, low = n.high(x), n.low(functional.avg_pool2d(x, 2))
        up = functional.interpolate(n.up(low), size=high.shape[2:], mode="nearest")
        high, low = (
            functional.relu(n.stay(high) + up),
            low + n.down(functional.avg_pool2d(high, 2)),
        )
        return n.head(torch.cat([high.mean((2, 3)), low.mean((2, 3))], 1))

    return Net(
        forward,
        high=block(3, 6), low=block(3, 4), up=nn.Conv2d(4, 7, 1), down=nn.Conv2d(6, 4, 1),
        stay=nn.Conv2d(6, 7, 3, padding=1), head=nn.Linear(11, 3),
    )  # fmt: skip


def both_signs():
    """Concatenated with its negative; mirrored twice into the same layer."""

    def forward(n, x):
        x = n.a(x)
        x = functional.relu(torch.cat([x, -x], 1))
        return n.head(functional.relu(n.b(x)).mean((2, 3)))

    return Net(forward, a=nn.Conv2d(3, 4, 5), b=nn.Conv2d(8, 5, 3), head=nn.Linear(5, 2))


def rows_behind_rows():
    """Two maps are joined along their height, convolved together and parted again."""

    def forward(n, x):
        a, b = n.a(x), n.b(x)
        both = n.joint(torch.cat([a, b], 2))
        upper, lower = torch.split(both, [a.shape[2], b.shape[2]], 2)
        return n.head((n.last(upper) * lower).mean((2, 3)))

    return Net(
        forward,
        a=block(3, 6), b=nn.Sequential(block(3, 6), block(6, 6, 1)), joint=nn.Conv2d(6, 7, 1),
        last=nn.Conv2d(7, 7, 1), head=nn.Linear(7, 3),
    )  # fmt: skip


def attention():
    """Softmax weights over channels, which must all stay; a map that weighs places."""

    def forward(n, x):
        x = n.stem(x)
        weights = n.choose(x.mean((2, 3))).softmax(1)
        x = x * torch.sigmoid(n.where(x))
        return n.head(torch.cat([weights, x.amax((2, 3))], 1))

    return Net(
        forward,
        stem=block(3, 8), choose=nn.Linear(8, 5), where=nn.Conv2d(8, 1, 3, padding=1),
        head=nn.Linear(13, 3),
    )  # fmt: skip


def repeated():
    """Channels repeated, picked and stacked."""

    def forward(n, x):
        x = n.stem(x)
        x = torch.stack([x.repeat_interleave(2, 1), n.twice(x)], 2).flatten(1, 2)
        return n.head(x[:, [0, 3, 5, 6, 19]].mean((2, 3)))

    return Net(forward, stem=block(2, 5), twice=nn.Conv2d(5, 10, 1), head=nn.Linear(5, 3))


def branches():
    """RepVGG: three ways side by side, one of them only a batch norm."""

    def forward(n, x):
        x = n.stem(x)
        x = functional.relu(n.three(x) + n.one(x) + n.norm(x))
        return n.head(x.mean((2, 3)))

    return Net(
        forward,
        stem=block(3, 7),
        three=block(7, 7, 3, nn.Identity),
        one=block(7, 7, 1, nn.Identity),
        norm=nn.BatchNorm2d(7),
        head=nn.Linear(7, 3),
    )


def face():
    """BlazeFace: depthwise blocks whose skip is pooled and given more channels."""

    def forward(n, x):
        x = functional.relu(n.stem(x))
        x = functional.relu(x + n.first(x))
        short = functional.pad(functional.max_pool2d(x, 2), [0, 0, 0, 0, 0, 4])
        x = functional.relu(short + n.second(functional.pad(x, [0, 1, 0, 1])))
        return n.score(x).flatten(1), n.box(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4)

    return Net(
        forward,
        stem=nn.Conv2d(3, 6, 5, stride=2, padding=2),
        first=nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.Conv2d(6, 6, 1)),
        second=nn.Sequential(nn.Conv2d(6, 6, 3, stride=2, groups=6), nn.Conv2d(6, 10, 1)),
        score=nn.Conv2d(10, 2, 1),
        box=nn.Conv2d(10, 8, 1),
    )


def in_place():
    def forward(n, x):
        x = n.stem(x)
        y = n.inner(x)
        y += x
        y.mul_(0.5).relu_()
        return n.head(functional.adaptive_avg_pool2d(y, (1, 1)).squeeze(-1).squeeze(-1))

    return Net(
        forward,
        stem=nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True)),
        inner=nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU6(inplace=True)),
        head=nn.Linear(6, 3),
    )


def narrow():
    """Layers of a single channel."""
    return nn.Sequential(
        block(1, 1), block(1, 3, 3, groups=1), block(3, 1, 1), nn.Conv2d(1, 2, 3, groups=1),
        nn.PReLU(), nn.Conv2d(2, 2, 3, groups=2), nn.Flatten(), nn.Linear(18, 1),
    )  # fmt: skip


def detail():
    """Local contrast: what differs from a blurred copy, relative to it."""

    def forward(n, x):
        x = n.stem(x)
        blurred = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        x = (x - blurred) / (n.strength(blurred).exp() + 0.1)
        return n.head(functional.softplus(x).clamp(max=3.0).square().mean((2, 3)))

    return Net(forward, stem=block(2, 6), strength=nn.Conv2d(6, 1, 1), head=nn.Linear(6, 3))


def lenet():
    def forward(n, x):
        x = functional.max_pool2d(functional.relu(n.a(x)), 2)
        x = functional.max_pool2d(functional.relu(n.b(x)), 2).view(x.shape[0], -1)
        return n.e(functional.relu(n.d(functional.relu(n.c(x)))))

    return Net(
        forward, a=nn.Conv2d(1, 6, 5), b=nn.Conv2d(6, 9, 5), c=nn.Linear(9 * 16, 12),
        d=nn.Linear(12, 8), e=nn.Linear(8, 10),
    )  # fmt: skip


def cascade():
    """A concatenation of concatenations."""

    def forward(n, x):
        x12 = torch.cat([n.a(x), n.b(x)], 1)
        x123 = torch.cat([x12, n.c(x)], 1)
        return n.last(torch.cat([x123, n.d(x)], 1))

    return Net(
        forward, a=block(5, 4, 1), b=nn.Sequential(block(5, 6, 1), block(6, 8, 1)),
        c=block(5, 9, 1), d=block(5, 12, 1), last=nn.Conv2d(33, 4, 1),
    )  # fmt: skip


def three_ways():
    """Three slices of one value, two of them through the same layers, all of them outputs."""

    def forward(n, x):
        x = n.stem(x)
        one, three = n.one[0].in_channels, n.three[0].in_channels
        a, b, c = torch.split(x, [one, one, three], 1)
        return n.one(a), n.one(b), n.three(c)

    return Net(
        forward, stem=nn.Sequential(block(4, 5, 1, nn.GELU), block(5, 16, 1, nn.Identity)),
        one=block(4, 3, 1, nn.Identity), three=block(8, 3, 1, nn.Identity),
    )  # fmt: skip


def split_and_add():
    """One half is concatenated with another branch, the other half added behind it."""

    def forward(n, x):
        y = n.beside(x)
        x = n.stem(x)
        first = n.mix[0].in_channels - y.shape[1]
        a, b = torch.split(x, (first, x.shape[1] - first), 1)
        return n.head((n.mix(torch.cat([a, y], 1)) + b).mean((2, 3)))

    return Net(
        forward,
        stem=block(3, 12),
        beside=block(3, 6),
        mix=block(12, 6, 1),
        head=nn.Linear(6, 3),
    )


def single_output():
    return nn.Sequential(block(3, 8), block(8, 10, 2, stride=2, padding=0), block(10, 1))


class Attend(nn.Module):
    """One head of attention over the pixels."""

    def __init__(self):
        super().__init__()
        self.stem, self.mix, self.head = nn.Conv2d(2, 8, 3), nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        q, k, v = self.mix(x).chunk(3, -1)
        x = torch.softmax(q @ k.transpose(1, 2), -1) @ v
        return self.head(x.mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.head = nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.cells(x)[0][:, -1])


class Standardised(nn.Conv2d):
    """A convolution whose weights are standardised in every call."""

    def forward(self, x):
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        return functional.conv2d(x, self.weight - mean, self.bias)


class Aliased(nn.Module):
    """One layer under two names, and a weight that two layers share."""

    def __init__(self):
        super().__init__()
        self.stem = block(3, 6)
        self.blocks = nn.ModuleList([self.stem, block(6, 8), nn.Conv2d(8, 8, 1)])
        self.again = nn.Conv2d(8, 8, 1, bias=False)
        self.again.weight = self.blocks[2].weight
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        for layer in self.blocks:
            x = functional.relu(layer(x))
        return self.head(self.again(x).mean((2, 3)))


def frozen():
    """A layer that is not to be trained, and a blur by a filter that never was."""

    def forward(n, x):
        x = functional.conv2d(n.first(x), n.blur, stride=2, padding=1, groups=6)
        return n.head(n.second(x).mean((2, 3)))

    net = Net(
        forward,
        first=block(3, 6),
        blur=torch.ones(6, 1, 3, 3) / 9,
        second=block(6, 7),
        head=nn.Linear(7, 4),
    )
    net.second[0].requires_grad_(False)
    return net


def expanded_gate():
    """A gate of one channel, written out over all of them, on either side of a product."""

    def forward(n, x):
        x = n.stem(x)
        gate = torch.sigmoid(n.one(x))
        y = n.body(gate.expand_as(x) * x)
        return n.head((y * torch.sigmoid(n.other(y)).expand_as(y)).mean((2, 3)))

    return Net(
        forward,
        stem=block(3, 6),
        one=nn.Conv2d(6, 1, 7, padding=3),
        body=block(6, 9),
        other=nn.Conv2d(9, 1, 1),
        head=nn.Linear(9, 4),
    )


def infinite_border():
    """A maximum as other frameworks pad it, behind channels that may be negative."""

    def forward(n, x):
        x = functional.pad(n.stem(x), (0, 1, 0, 1), value=float("-inf"))
        return n.head(n.body(functional.max_pool2d(x, 3, 2)).mean((2, 3)))

    return Net(
        forward,
        stem=block(3, 6, activation=nn.ReLU),
        body=block(6, 8),
        head=nn.Linear(8, 4),
    )


def norm_of_means():
    """A layer norm over channels that are one pixel each, as it is written for images."""

    def forward(n, x):
        x = n.norm(n.body(n.stem(x)).mean((2, 3), keepdim=True))
        return n.head(x.flatten(1))

    return Net(
        forward,
        stem=block(3, 6),
        body=block(6, 8),
        norm=nn.LayerNorm([8, 1, 1]),
        head=nn.Linear(8, 4),
    )


def sensor():
    """A flat vector of readings, seen as one channel of a series."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 40)), nn.Conv1d(1, 4, 3, padding=1), nn.ReLU(),
        nn.Conv1d(4, 6, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(114, 3),
    )  # fmt: skip


class Hidden(nn.Module):
    """A constant that no state dict holds, and a layer that is called `input`."""

    def __init__(self):
        super().__init__()
        self.input = nn.Conv2d(3, 6, 3)
        self.register_buffer("gain", torch.rand(6, 1, 1), persistent=False)
        self.body, self.head = block(6, 7), nn.Linear(7, 3)

    def forward(self, x):
        return self.head(self.body(self.input(x) * self.gain).mean((2, 3)))


def plainly(*layers):
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))


# What is refused, and the operator to blame.
REFUSED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "attention-heads": (Attend, (2, 5, 5), "matmul"),
    "recurrent": (Recurrent, (7, 5), "lstm|zeros"),
    "standardised-weights": (lambda: plainly(Standardised(2, 6, 3)), (2, 5, 5), "mean"),
    "norm-without-scale": (
        lambda: plainly(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6, affine=False)),
        (2, 5, 5), "batch_norm",
    ),
    "volume": (
        lambda: nn.Sequential(nn.Conv3d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)),
        (1, 3, 3, 3), "conv3d",
    ),
    "uneven-pooling": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3)
        ),
        (2, 5, 5), "adaptive_avg_pool2d",
    ),
    "local-norm": (
        lambda: plainly(nn.Conv2d(2, 6, 3), nn.LocalResponseNorm(3)), (2, 5, 5), "avg_pool3d",
    ),
    "bicubic": (
        lambda: plainly(nn.Conv2d(2, 6, 3), nn.Upsample(scale_factor=2, mode="bicubic")),
        (2, 5, 5), "upsample_bicubic2d",
    ),
}  # fmt: skip
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (residual, (3, 9, 7)),
    "padded-shortcut": (padded_shortcut, (3, 8, 10)),
    "pre-activation": (pre_activation, (2, 9, 7)),
    "dense-blocks": (dense_blocks, (3, 8, 6)),
    "separable": (separable, (1, 13, 10)),
    "inverted": (inverted, (3, 9, 9)),
    "grouped": (grouped, (3, 7, 5)),
    "excite": (excite, (3, 11, 9)),
    "shuffle": (shuffle, (3, 5, 7)),
    "split-shuffle": (split_shuffle, (2, 9, 9)),
    "partial-stages": (partial_stages, (3, 7, 7)),
    "autoencoder": (autoencoder, (1, 12, 8)),
    "decoder": (decoder, (10,)),
    "transposed-depthwise": (transposed_depthwise, (2, 8, 6)),
    "unet": (unet, (1, 8, 12)),
    "bilinear-unet": (bilinear_unet, (1, 9, 11)),
    "transposed-unet": (transposed_unet, (3, 8, 6)),
    "temporal": (temporal, (3, 17)),
    "waves": (waves, (2, 37)),
    "time-major": (time_major, (11, 5)),
    "channels-last": (channels_last, (9, 6, 3)),
    "dense-autoencoder": (dense_autoencoder, (20,)),
    "dense-skip": (dense_skip, (13,)),
    "wide-and-deep": (wide_and_deep, (3, 4)),
    "plain": (plain, (1, 7, 7)),
    "slopes": (slopes, (2, 8, 7)),
    "heads": (heads, (3, 9, 8)),
    "shared": (shared, (3, 6, 6)),
    "constants": (constants, (3, 7, 9)),
    "layer-scale": (layer_scale, (3, 8, 10)),
    "next-blocks": (next_blocks, (3, 8, 6)),
    "rows": (rows, (7, 5)),
    "spatial-attention": (spatial_attention, (3, 6, 5)),
    "normalised": (normalised, (9,)),
    "group-norms": (group_norms, (2, 7, 8)),
    "inception": (inception, (3, 9, 7)),
    "fire": (fire, (3, 11, 9)),
    "ghost": (ghost, (3, 6, 5)),
    "super-resolution": (super_resolution, (1, 5, 7)),
    "space-to-depth": (space_to_depth, (3, 6, 12)),
    "maxout": (maxout, (2, 7, 6)),
    "gates": (gates, (3, 13)),
    "mirrored": (mirrored, (1, 6, 7)),
    "octaves": (octaves, (3, 8, 6)),
    "both-signs": (both_signs, (3, 9, 8)),
    "rows-behind-rows": (rows_behind_rows, (3, 5, 6)),
    "attention": (attention, (3, 6, 7)),
    "repeated": (repeated, (2, 5, 6)),
    "branches": (branches, (3, 6, 5)),
    "face": (face, (3, 12, 12)),
    "in-place": (in_place, (2, 7, 7)),
    "narrow": (narrow, (1, 7, 7)),
    "detail": (detail, (2, 7, 8)),
    "lenet": (lenet, (1, 28, 28)),
    "cascade": (cascade, (5, 4, 5)),
    "three-ways": (three_ways, (4, 5, 4)),
    "split-and-add": (split_and_add, (3, 5, 6)),
    "single-output": (single_output, (3, 8, 6)),
    "aliased": (Aliased, (3, 6, 7)),
    "frozen": (frozen, (3, 8, 6)),
    "expanded-gate": (expanded_gate, (3, 6, 5)),
    "infinite-border": (infinite_border, (3, 8, 6)),
    "norm-of-means": (norm_of_means, (3, 6, 6)),
    "sensor": (sensor, (40,)),
    "hidden": (Hidden, (3, 6, 6)),
}


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Statistics, scales, shifts and biases that a mistake cannot hide behind."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: Tensor, low: float, high: float) -> None:
        tensor.data.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            uniform(module.running_mean, -0.5, 0.5)
            uniform(module.running_var, 0.5, 2.0)
        if isinstance(module, nn.PReLU):
            uniform(module.weight, -0.2, 0.4)
        elif getattr(module, "weight", None) is not None and module.weight.dim() < 2:
            uniform(module.weight, 0.5, 1.5)
        if isinstance(getattr(module, "bias", None), Tensor):
            uniform(module.bias, -0.5, 0.5)
    return model.eval()


def build(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A network of the table in inference mode, always with the same weights; its input."""
    make, shape, *_ = {**NETWORKS, **REFUSED}[name]
    torch.manual_seed(0)
    return randomised(make()), shape
