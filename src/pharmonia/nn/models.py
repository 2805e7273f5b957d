"""The network of each choice."""

from pharmonia.base.errors import OptionError
from pharmonia.nn.choices import NORMED_MODELS, Model, Norm
from pharmonia.nn.deepdta import DeepDtaInteraction
from pharmonia.nn.gat import GatBranch, GatGcnBranch
from pharmonia.nn.gcn import GcnBranch
from pharmonia.nn.gin import GinBranch
from pharmonia.nn.interaction import GinInteraction, InteractionModel
from pharmonia.nn.protein import ProteinBranch, RectifiedProteinBranch


def build_model(model: Model, norm: Norm) -> InteractionModel:
    """The network, with weights drawn from torch's global generator.

    GraphDTA's networks (Nguyen et al. 2021), DeepDTA (Ozturk et al. 2018), and GIN with one side only: what is
    predicted from compounds alone, or targets alone, is what a data set gives away without any interaction.

    Args:
        model: Which network.
        norm: Which normalisation follows its graph layers. Only GIN and ligand-only have any; for the others
            Norm.BATCH stands for the published form.

    Raises:
        OptionError: Norm.LAYER is asked for of a network without normalisation.
    """
    if norm is not Norm.BATCH and model not in NORMED_MODELS:
        raise OptionError(f"the network {model.value!r} has no normalisation, so the norm {norm.value!r} means nothing")
    built: InteractionModel
    match model:
        case Model.GIN:
            built = GinInteraction(norm)
        case Model.GCN:
            built = InteractionModel(GcnBranch(), ProteinBranch(), (1024, 512))
        case Model.GAT:
            built = InteractionModel(GatBranch(), RectifiedProteinBranch(), (1024, 256))
        case Model.GAT_GCN:
            built = InteractionModel(GatGcnBranch(), ProteinBranch(), (1024, 512))
        case Model.DEEPDTA:
            built = DeepDtaInteraction()
        case Model.LIGAND_ONLY:
            built = InteractionModel(GinBranch(norm), None, (1024, 256))
        case Model.TARGET_ONLY:
            built = InteractionModel(None, ProteinBranch(), (1024, 256))
    return built
