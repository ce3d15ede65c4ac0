"""PyTorch with the mask multiplied in before every forward pass.

As OpenLTH does it, but for its loader of data: here they lie in memory.
"""

from contestants.task import MOMENTUM, TASKS, data, orders


def make(model, density, precision="float32", best=False):
    """Eager PyTorch; `best`: channels last, fused optimizers."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    task = TASKS[model]
    x, y = data(task)
    x = torch.from_numpy(x).permute(0, 3, 1, 2)
    y = torch.from_numpy(y).long()
    net = _network(nn, model)
    layout = torch.channels_last if best else torch.contiguous_format
    net = net.to(memory_format=layout)
    masks = [
        (p, (torch.rand(p.shape) < density).to(p.dtype))
        for p in net.parameters()
        if p.ndim > 1
    ]
    if task.optimizer == "adam":
        optimizer = torch.optim.Adam(net.parameters(), task.rate, fused=best)
    else:
        optimizer = torch.optim.SGD(
            net.parameters(),
            task.rate,
            MOMENTUM,
            weight_decay=task.decay,
            fused=best,
        )
    loss_of = nn.CrossEntropyLoss()
    reduced = precision == "mixed_bfloat16"

    def run(steps):
        for index in torch.from_numpy(orders(task, steps)).long():
            images = x[index].float().div_(255)
            images = images.contiguous(memory_format=layout)
            for weight, mask in masks:
                weight.data.mul_(mask)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
                outputs = net(images)
            loss = loss_of(outputs.float(), y[index])
            loss.backward()
            optimizer.step()
        return float(loss)

    return run


def _network(nn, model):
    if model == "lenet_300_100":
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(784, 300),
            nn.ReLU(),
            nn.Linear(300, 100),
            nn.ReLU(),
            nn.Linear(100, 10),
        )
    if model == "conv_4":
        layers, before = [], 3
        for width in (64, 128):
            for _ in range(2):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            layers += [nn.MaxPool2d(2)]
        layers += [nn.Flatten(), nn.Linear(8192, 256), nn.ReLU()]
        layers += [nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
        return nn.Sequential(*layers)
    return _resnet_20(nn)


def _resnet_20(nn):
    def conv(before, after, size, stride):
        return nn.Sequential(
            nn.Conv2d(
                before, after, size, stride, padding=size // 2, bias=False
            ),
            nn.BatchNorm2d(after),
        )

    class Block(nn.Module):
        def __init__(self, before, after, stride):
            super().__init__()
            self.one = conv(before, after, 3, stride)
            self.two = conv(after, after, 3, 1)
            self.beside = nn.Identity()
            if before != after:
                self.beside = conv(before, after, 1, stride)
            self.relu = nn.ReLU()

        def forward(self, x):
            inside = self.two(self.relu(self.one(x)))
            return self.relu(inside + self.beside(x))

    layers, before = [conv(3, 16, 3, 1), nn.ReLU()], 16
    for width in (16, 32, 64):
        for block in range(3):
            stride = 2 if width > before else 1
            layers += [Block(before, width, stride)]
            before = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*layers)
