"""Classes of MONAI that a configuration may build, by name.

They are the public classes of MONAI 1.6.1 in the packages below, without those that run or import what
their arguments name, load pickles, fetch from the network or send to it, or write any text into any file. Of
a transform the array version stands for the dictionary version too.
"""

PACKAGES = (
    *("transforms", "networks", "losses", "metrics", "data", "engines", "handlers", "inferers", "optimizers"),
    "visualize",
)
# Not in the table, although they stand in these packages.
_DENIED = """
    BaseWSIReader BertPreTrainedModel CSVSaver CameraDataset CellSamWrapper ClassificationSaver
    ClearMLHandler ClearMLImageHandler ClearMLStatsHandler CuCIM CuCIMWSIReader CuCIMd DatasetSummary
    FlexUNetEncoderRegister FunctionSignature GDSDataset InvertibleTrait JukeboxLoss LMDBDataset LazyTrait
    LogfileHandler MLFlowHandler MaskedPatchWSIDataset MedicalNetPerceptualSimilarity MultiModal
    MultiSampleTrait NPZDictItemDataset NvImgCodecPydicomReader OpenSlideWSIReader PatchWSIDataset
    PerceptualLoss RadImageNetPerceptualSimilarity RandCuCIM RandCuCIMd RandTorchIO RandTorchIOd
    RandTorchVision RandTorchVisiond RandomizableTrait ReduceTrait SaveClassificationd ShapeError
    SlidingPatchWSIDataset TRTEngine TextEncoder ThreadUnsafe TiffFileWSIReader TorchIO TorchIOd
    TorchVision TorchVisionFCModel TorchVisiond TorchvisionModelPerceptualSimilarity Transchex TrtCompiler
    TrtHandler VideoDataset VideoFileDataset WSIReader WriteFileMapping WriteFileMappingd
"""
DENIED = frozenset(_DENIED.split())
_NAMES = """
    ADN AEKLDownsample AEKLResBlock AHNet AHnet AUCMLoss AbsolutePositionalEmbedding
    AbsoluteVolumeDifferenceMetric ActiConvNormBlock ActivationCheckpointWrapper Activations
    AddCoordinateChannels AddExtremePointsChannel AdditiveUpSampleBlock AdjustContrast
    AdversarialCriterions AdversarialTrainer Affine AffineGrid AffineHead AffineTransform Ahnet
    ApplyFilter ApplyPending ApplyTransformToPoints ArrayDataset AsChannelLast AsDiscrete
    AsymmetricFocalLoss AsymmetricFocalTverskyLoss AsymmetricPad AsymmetricUnifiedFocalLoss Attention
    AttentionBlock AttentionLayer AttentionModule AttentionUnet AttnDownBlock AttnMidBlock AttnUpBlock
    AutoEncoder AutoencoderKL AveragePrecision AveragePrecisionMetric AvgMerger BackboneWithFPN
    BarlowTwinsLoss BaseEncoder BasicLayer BasicUNet BasicUNetPlusPlus BasicUnet BasicUnetPlusPlus
    Basicunet BasicunetPlusPlus BatchInverseTransform BendingEnergyLoss BertAttention BertMixedLayer
    BertOutput BilateralFilter BlockArgs BorderPad Bottleneck Bottleneck3x3x1 BoundaryLoss BoundingRect
    BoxGIoULoss BoxMode CABlock CAM CAMBase CRF CSVDataset CSVIterableDataset CacheDataset
    CacheNTransDataset CalibrationError CalibrationErrorMetric CalibrationReduction CastTempType
    CastToFloat CastToFloatAll CastToType Cell CellInterface CenterScaleCrop CenterSizeMode
    CenterSpatialCrop ChannelPad ChannelSELayer CheckpointLoader CheckpointSaver CheckpointUNet
    ClassMappingClassify ClassesToIndices Classifier ClassifierBlock
    ClipIntensityPercentiles Compose ComputeHoVerMaps ConcatItemsd ConfusionMatrix ConfusionMatrixMetric
    ConjugateGradient ContrastiveLoss ControlNet ControlNetConditioningEmbedding
    ControlNetDiffusionInferer ControlNetLatentDiffusionInferer ConvBlock ConvConcatDenseBlock
    ConvDenseBlock ConvertBoxToPoints ConvertPointsToBoxes ConvertToMultiChannelBasedOnBratsClasses
    Convolution CopyItemsd CornerCornerModeTypeA CornerCornerModeTypeB CornerCornerModeTypeC
    CornerSizeMode Critic Crop CropForeground CrossAttentionBlock CrossAttnDownBlock CrossAttnMidBlock
    CrossAttnUpBlock Cumulative CumulativeAverage CumulativeIterationMetric CutMix CutOut DAF3D
    DDIMScheduler DDPMPredictionType DDPMScheduler DDPMVarianceType DVF2DDF Daf3dASPP Daf3dBackbone
    Daf3dBackboneWithFPN Daf3dFPN Daf3dResNet Daf3dResNetBottleneck Daf3dResNetDilatedBottleneck
    DataLoader DataLoaderIter DataStats Dataset DatasetFunc Decoder DecoderOnlyTransformer DecollateBatch
    Decollated DecomposedRelativePosEmbedding DeepSupervisionLoss DeleteItemsd DenseBlock DenseNet
    DenseNet121 DenseNet169 DenseNet201 DenseNet264 Densenet Densenet121 Densenet169 Densenet201
    Densenet264 DepthwiseFFTConv2d DepthwiseFFTConv3d DetectEnvelope DiNTS Dice DiceCELoss DiceFocalLoss
    DiceHelper DiceLoss DiceMetric DiffusionInferer DiffusionLoss DiffusionModelEncoder DiffusionModelUNet
    DiffusionPrepareBatch DiffusionUNetResnetBlock DiffusionUNetTransformerBlock DiffusionUnetDownsample
    Discriminator DisplacementField DistanceTransformEDT DistributedSampler
    DistributedWeightedRandomSampler DivisiblePad Down DownBlock DownSample DownTransition Downsample
    DropPath DynUNet DynUNetSkipLayer DynUnet Dynunet EMAQuantizer EarlyStopHandler EfficientNet
    EfficientNetBN EfficientNetBNFeatures EfficientNetEncoder EllipticalFilter EmbeddingCollapseMetric
    Encoder Ensemble EnsembleEvaluator EnsureChannelFirst EnsureType Evaluator ExponentialLR ExtraFPNBlock
    FBetaScore FCN FIDMetric FactorizedIncreaseBlock FactorizedReduceBlock FeaturePyramidNetwork
    FeedForward FgBgToIndices FillHoles Final Flatten FlattenSequence FlattenSubKeysd FlexUNet
    FlexibleUNet Flip FocalLoss FolderLayout FolderLayoutBase ForegroundMask Fourier FromMetaTensord
    FullyConnectedNet GCN GEGLU GanTrainer GarbageCollector GaussianFilter GaussianMixtureModel
    GaussianSharpen GaussianSmooth GeneralizedDiceFocalLoss GeneralizedDiceLoss GeneralizedDiceScore
    GeneralizedWassersteinDiceLoss GenerateHeatmap Generator GibbsNoise GlobalMutualInformationLoss
    GlobalNet GradCAM GradCAMpp GridDistortion GridPatch GridPatchDataset GridSplit GuidedBackpropGrad
    GuidedBackpropSmoothGrad HausdorffDTLoss HausdorffDistance HausdorffDistanceMetric HighResBlock
    HighResNet HilbertTransform HistogramNormalize HoVerNet HoVernet HoverNet Hovernet HyenaMixer
    HyenaNDUNETR HyenaTransformerBlock ITKReader ITKWriter Identity IgniteMetricHandler ImageDataset
    ImageFilter ImageReader ImageWriter Inferer InputTransition IntensityRemap IntensityStats Invert
    InvertibleTransform IterableDataset IterationEvents IterationMetric KSpaceSpikeNoise
    KeepLargestConnectedComponent KernelType LLTM LLTMFunction LUConv LabelFilter LabelQualityScore
    LabelToContour LabelToMask Lambda LaplaceFilter LastLevelMaxPool LastLevelP6P7 LatentDiffusionInferer
    LayerFactory LazyTransform LearningRateFinder LinearLR LoadImage LocalNet LocalNetDownSampleBlock
    LocalNetFeatureExtractorBlock LocalNetResidualBlock LocalNetUpSampleBlock
    LocalNormalizedCrossCorrelationLoss LogHausdorffDTLoss LossMetric LrScheduleHandler
    MAEMetric MAPEMetric MBConvBlock MCCLoss MCFCN MDTATransformerBlock MILModel MLP MLPBlock MMDMetric
    MSEMetric MapLabelValue MapTransform Mark MarkHandler MaskIntensity MaskedAutoEncoderViT
    MaskedDiceLoss MaskedLoss MaxAvgPool MeanAbsoluteError MeanDice MeanEnsemble MeanFilter MeanIoU
    MeanIoUHandler MeanSquaredError MedNeXt MedNeXtBlock MedNeXtDownBlock MedNeXtOutBlock MedNeXtUpBlock
    MedNext MedianFilter MedianSmooth MemoryEfficientSwish Merger MetaObj MetaTensor Metric MetricLogger
    MetricLoggerKeys MetricsReloadedBinary MetricsReloadedBinaryHandler MetricsReloadedCategorical
    MetricsReloadedCategoricalHandler MetricsReloadedWrapper MetricsSaver Mish MixUp MixedOp Mixer
    ModelWithHooks MultiScaleLoss MultiScalePatchDiscriminator MultiScaleSSIMMetric NACLLoss NaViT
    NetAdapter NibabelReader NibabelWriter NormalizeIntensity Novograd NrrdImage NrrdReader NumpyReader
    OcclusionSensitivity OneOf Orientation OutputTransition OverlapPatchEmbed P3DActiConvNormBlock
    PHLFilter PILReader PILWriter PNDMPredictionType PNDMScheduler PSNRMetric PSP Pad PadListDataCollate
    PanopticQuality PanopticQualityMetric ParamSchedulerHandler PatchAdversarialLoss PatchDataset
    PatchDiscriminator PatchEmbed PatchEmbeddingBlock PatchInferer PatchIter PatchMerging PatchMergingV2
    PeakSignalToNoiseRatio PerceptualNetworkType PersistentDataset PointMappingSAM Pooler
    PositionEmbeddingRandom PostProcessing PrepareBatch PrepareBatchDefault PrepareBatchExtraInput
    ProbMapProducer ProbNMS Projection Pseudo3DLayer PydicomReader Quicknat RFlowPredictionType
    RFlowScheduler RMSEMetric ROCAUC ROCAUCMetric Rand2DElastic Rand3DElastic RandAdjustContrast
    RandAffine RandAffineGrid RandAxisFlip RandBiasField RandCoarseDropout RandCoarseShuffle
    RandCoarseTransform RandCropByLabelClasses RandCropByPosNegLabel RandCropd RandDeformGrid RandFlip
    RandGaussianNoise RandGaussianSharpen RandGaussianSmooth RandGibbsNoise RandGridDistortion
    RandGridPatch RandHistogramShift RandIdentity RandImageFilter RandIntensityRemap RandKSpaceSpikeNoise
    RandLambda RandMark RandRangePop RandRangePush RandRicianNoise RandRotate RandRotate90 RandScaleCrop
    RandScaleIntensity RandScaleIntensityFixedMean RandShiftIntensity RandSimulateLowResolution
    RandSmoothDeform RandSmoothFieldAdjustContrast RandSmoothFieldAdjustIntensity RandSpatialCrop
    RandSpatialCropSamples RandStdShiftIntensity RandWeightedCrop RandZoom RandomOrder Randomizable
    RandomizableTransform RangeHandler RangePop RangePopHandler RangePush RangePushHandler Refine RegUNet
    RegistrationDownSampleBlock RegistrationExtractionBlock RegistrationResidualConvBlock RegressionMetric
    Regressor RemoveRepeatedChannel RemoveSmallObjects RepeatChannel ResBlock ResNet ResNetBlock
    ResNetBottleneck ResNetEncoder ResNetFeatures Resample ResampleToMatch Reshape ResidualBlock
    ResidualSELayer ResidualUnit Resize ResizeWithPadOrCrop Restormer RootMeanSquaredError Rotate Rotate90
    SABlock SEBlock SEBottleneck SENet SENet154 SEResNeXt101 SEResNeXt50 SEResNeXtBottleneck SEResNet101
    SEResNet152 SEResNet50 SEResNetBottleneck SEResNext101 SEResNext50 SEnet SEnet154 SEresnet101
    SEresnet152 SEresnet50 SEresnext101 SEresnext50 SPADE SPADEAttnUpBlock SPADEAutoencoderKL
    SPADECrossAttnUpBlock SPADEDecoder SPADEDiffResBlock SPADEDiffusionModelUNet SPADEEncoder SPADENet
    SPADENetResBlock SPADEResBlock SPADEUpBlock SSIMLoss SSIMMetric SURELoss SaliencyInferer
    SaveImage SavitzkyGolayFilter SavitzkyGolaySmooth ScaleIntensity
    ScaleIntensityFixedMean ScaleIntensityRange ScaleIntensityRangePercentiles Scheduler SegResBlock
    SegResEncoder SegResNet SegResNetDS SegResNetDS2 SegResNetVAE SegmentationHead SelectItemsd Senet
    Senet154 SequentialWithIdx Seresnet101 Seresnet152 Seresnet50 Seresnext101 Seresnext50 SharpenFilter
    ShiftIntensity ShuffleBuffer SignalContinuousWavelet SignalFillEmpty SignalRandAddGaussianNoise
    SignalRandAddSine SignalRandAddSinePartial SignalRandAddSquarePulse SignalRandAddSquarePulsePartial
    SignalRandDrop SignalRandScale SignalRandShift SignalRemoveFrequency SimpleASPP SimpleInferer
    SimulateDelay SkipConnection SkipConnectionWithIdx SliceInferer SlidingWindowInferer
    SlidingWindowInfererAdapt SlidingWindowSplitter SmartCacheDataset SmartCacheHandler SmoothField
    SmoothGrad SobelGradients SoftDiceclDiceLoss SoftclDiceLoss SomeOf Spacing SpatialAttentionBlock
    SpatialCrop SpatialPad SpatialResample SpatialTransformer SplitDim Splitter SqueezeDim StandardMode
    StatsHandler StdShiftIntensity StemInterface StemTS SubpixelDownSample SubpixelDownsample
    SubpixelUpSample SubpixelUpsample Subpixeldownsample Subpixelupsample SupervisedEvaluator
    SupervisedTrainer SurfaceDiceMetric SurfaceDistance SurfaceDistanceMetric SwinTransformer
    SwinTransformerBlock SwinUNETR Swish SwishImplementation TensorBoardHandler TensorBoardImageHandler
    TensorBoardStatsHandler TestTimeAugmentation ThreadBuffer ThreadDataLoader ThresholdIntensity ToCupy
    ToDevice ToMetaTensord ToNumpy ToPIL ToTensor TopologyConstruction TopologyInstance TopologySearch
    TraceableTransform TrainDataLoaderIter TrainableBilateralFilter TrainableBilateralFilterFunction
    TrainableJointBilateralFilter TrainableJointBilateralFilterFunction Trainer Transform
    TransformPointsImageToWorldd TransformPointsWorldToImaged TransformerBlock Transpose TverskyLoss
    TwoConv TwoWayAttentionBlock TwoWayTransformer UNETR UNet UNetDecoder UltrasoundConfidenceMap
    UltrasoundConfidenceMapTransform Unet UnetBasicBlock UnetOutBlock UnetResBlock UnetUpBlock
    UnetrBasicBlock UnetrPrUpBlock UnetrUpBlock UpBlock UpCat UpConv UpSample UpTransition Upsample
    UpsamplingModes VISTA3D VNet VPredictionPrepareBatch VQVAE VQVAEResidualUnit VQVAETransformerInferer
    ValDataLoaderIter ValidationHandler VanillaGrad VarAutoEncoder VarFullyConnectedNet VarianceMetric
    VectorQuantizer ViT ViTAutoEnc VoteEnsemble VoxelMorph VoxelMorphUNet WSISlidingWindowSplitter
    WarmupCosineSchedule Warp WindowAttention Workflow WrappedUpsample ZarrAvgMerger ZipDataset Zoom
"""
_CLASSES = frozenset(_NAMES.split())


def is_known(name: str) -> bool:
    """Whether a configuration may build a class: LoadImage, LoadImaged, LoadImageD, LoadImageDict."""
    bases = [name.removesuffix(suffix) for suffix in ("d", "D", "Dict") if name.endswith(suffix)]
    return any(known in _CLASSES for base in bases for known in (base, f"{base}d")) or name in _CLASSES
